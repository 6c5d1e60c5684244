#include "daemon/counter_floor.hpp"

#include "zeropool/lib/layout_constants.hpp"

namespace zeropool::daemon {
namespace {

void raise_to(std::uint64_t& said, std::uint64_t most, std::uint64_t& now) {
  if (now < said && said - now <= most) now = said;
  said = now;
}

}  // namespace

void CounterFloor::raise(std::size_t number, std::uint64_t threads, RingStatistics& ring) {
  const std::uint64_t most = threads * lib::kMaxMagazineSlots;
  const std::lock_guard lock(mutex_);
  if (said_.size() <= number) said_.resize(number + 1);
  raise_to(said_[number].tls_hits, most, ring.tls_hits);
  raise_to(said_[number].puts, most, ring.puts);
}

}  // namespace zeropool::daemon
