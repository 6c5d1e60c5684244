#include "daemon/admin_clock.hpp"

#include <array>
#include <time.h>
#include <unistd.h>

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

}  // namespace

AdminClock AdminClock::now() {
  timespec real{};
  timespec monotonic{};
  ::clock_gettime(CLOCK_REALTIME, &real);
  ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
  return {static_cast<std::uint64_t>(real.tv_sec),
          static_cast<std::uint64_t>(monotonic.tv_sec) * kNanosecondsPerSecond +
              static_cast<std::uint64_t>(monotonic.tv_nsec)};
}

std::string machine_name() {
  std::array<char, 256> name{};
  // Cut where it is longer: then it may lack its end, which stays 0 here.
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace zeropool::daemon
