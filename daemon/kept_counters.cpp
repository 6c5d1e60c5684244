#include "daemon/kept_counters.hpp"

#include <bit>
#include <tuple>

#include "zeropool/lib/error_code.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;  // one writer, no reader but a later daemon
using Words = std::span<std::atomic<std::uint64_t>>;

// K2: places in a pool's words. Those up to kPoolCounterWords that none has are spare.
constexpr std::size_t kCounts = 0;
constexpr std::size_t kSteals = 16;  // threads and bytes of each reason
constexpr std::size_t kReclaimDuration = 32;
constexpr std::size_t kOrderWait = 48;
constexpr std::size_t kReleased = 64;  // of each reason
constexpr std::size_t kFallbacks = 80;
static_assert(2 * kStealReasons <= kReclaimDuration - kSteals);
static_assert(kReleaseReasons <= kFallbacks - kReleased);
static_assert(kFallbacks + kPageSizes * kPageSizes <= kPoolCounterWords);

// Buckets, then the sum. With other bounds it needs another place.
constexpr std::size_t kSumOfHistogram = 15;
static_assert(std::tuple_size_v<decltype(Histogram::buckets)> <= kSumOfHistogram);

// Places in the daemon's words.
constexpr std::size_t kRejections = 0;  // by ErrorCode
constexpr std::size_t kErrorCodes = 64;
constexpr std::size_t kPressure = 64;
static_assert(kPressure + kPressureSources <= kDaemonCounterWords);

// One visit, two directions: the place of each counter is written down once.
struct Write {
  Words words;
  // This is done in each round of the loop: what has not changed is not stored.
  void operator()(std::size_t place, const std::uint64_t& value) const {
    if (words[place].load(kPlain) != value) words[place].store(value, kPlain);
  }
  void operator()(std::size_t place, const double& value) const {
    operator()(place, std::bit_cast<std::uint64_t>(value));
  }
};
struct Read {
  Words words;
  void operator()(std::size_t place, std::uint64_t& value) const {
    value = words[place].load(kPlain);
  }
  void operator()(std::size_t place, double& value) const {
    value = std::bit_cast<double>(words[place].load(kPlain));
  }
};

template <typename HistogramType, typename Visit>
void visit_histogram(std::size_t place, HistogramType& histogram, const Visit& visit) {
  for (std::size_t i = 0; i < histogram.buckets.size(); ++i) visit(place + i, histogram.buckets[i]);
  visit(place + kSumOfHistogram, histogram.sum_seconds);
}

template <typename Counters, typename Visit>
void visit_counters(Counters& counters, const Visit& visit) {
  visit(kCounts + 0, counters.reclaims);
  visit(kCounts + 1, counters.reclaimed_slots);
  visit(kCounts + 2, counters.quarantined_slots);
  visit(kCounts + 3, counters.repairs);
  visit(kCounts + 4, counters.handoffs_expired);
  visit(kCounts + 5, counters.orders_granted);
  visit(kCounts + 6, counters.orders_refused);
  visit(kCounts + 7, counters.orders_cancelled);
  visit(kCounts + 8, counters.audit.passes);
  visit(kCounts + 9, counters.audit.punched_stray_bytes);
  for (std::size_t reason = 0; reason < kStealReasons; ++reason) {
    visit(kSteals + 2 * reason, counters.steals[reason].threads);
    visit(kSteals + 2 * reason + 1, counters.steals[reason].bytes);
  }
  visit_histogram(kReclaimDuration, counters.reclaim_duration, visit);
  visit_histogram(kOrderWait, counters.order_wait, visit);
  for (std::size_t ring = 0; ring < counters.reclaimed_held.size(); ++ring) {
    visit(kPoolCounterWords + 2 * ring, counters.reclaimed_held[ring]);
    visit(kPoolCounterWords + 2 * ring + 1, counters.reclaimed_in_transit[ring]);
  }
}

template <typename Visit>
void visit_memory(MemoryCounts& memory, const Visit& visit) {
  visit(kCounts + 10, memory.trims);
  visit(kCounts + 11, memory.trimmed_bytes);
  for (std::size_t reason = 0; reason < kReleaseReasons; ++reason) {
    visit(kReleased + reason, memory.released_bytes[reason]);
  }
  for (std::size_t from = 0; from < kPageSizes; ++from) {
    for (std::size_t to = 0; to < kPageSizes; ++to) {
      visit(kFallbacks + kPageSizes * from + to, memory.page_fallbacks[from][to]);
    }
  }
}

std::uint64_t count_of(const Histogram& histogram) {
  std::uint64_t count = 0;
  for (const std::uint64_t bucket : histogram.buckets) count += bucket;
  return count;
}

}  // namespace

void resume_counters(Pool& pool, Ledger& ledger) {
  PoolCounters& counters = pool.counters;
  counters.reclaimed_held.resize(pool.memory->ring_count());
  counters.reclaimed_in_transit.resize(pool.memory->ring_count());
  const Words words = ledger.counters(pool.memory->ledger_index());
  if (words.empty()) return;
  const Read read{words};
  visit_counters(counters, read);
  counters.reclaim_duration.count = count_of(counters.reclaim_duration);
  counters.order_wait.count = count_of(counters.order_wait);
  MemoryCounts memory;
  visit_memory(memory, read);
  pool.memory->resume_counts(memory);
}

void keep_counters(const Pool& pool, Ledger& ledger) {
  const Words words = ledger.counters(pool.memory->ledger_index());
  if (words.empty()) return;
  const Write write{words};
  visit_counters(pool.counters, write);
  MemoryCounts memory = pool.memory->counts();
  visit_memory(memory, write);
}

DaemonCounts kept_counts(Ledger& ledger) {
  const Words words = ledger.counters();
  DaemonCounts counts;
  for (std::size_t code = 0; code < kErrorCodes; ++code) {
    const std::uint64_t count = words[kRejections + code].load(kPlain);
    if (count > 0) counts.rejections[lib::error_name(static_cast<lib::ErrorCode>(code))] += count;
  }
  for (std::size_t source = 0; source < kPressureSources; ++source) {
    counts.pressure_events[source] = words[kPressure + source].load(kPlain);
  }
  return counts;
}

void keep_counts(const std::map<std::string, std::uint64_t>& rejections,
                 const PressureCounters& pressure_events, Ledger& ledger) {
  const Words words = ledger.counters();
  for (std::size_t code = 0; code < kErrorCodes; ++code) {
    const auto found = rejections.find(lib::error_name(static_cast<lib::ErrorCode>(code)));
    if (found == rejections.end() || found->first == "unknown") continue;
    words[kRejections + code].store(found->second, kPlain);
  }
  for (std::size_t source = 0; source < kPressureSources; ++source) {
    words[kPressure + source].store(pressure_events[source], kPlain);
  }
}

}  // namespace zeropool::daemon
