#include "daemon/statistics_words.hpp"

#include "zeropool/lib/thread_record.hpp"

namespace zeropool::daemon {

const char* page_size_word(PageSize size) {
  switch (size) {
    case PageSize::kHuge1GiB: return "1GiB";
    case PageSize::kHuge2MiB: return "2MiB";
    case PageSize::kThp: return "thp";
    case PageSize::kSmall4KiB: return "4KiB";
  }
  return "unknown";
}

const char* page_size_word(lib::PageKind kind) {
  switch (kind) {
    case lib::PageKind::kGiant1GiB: return "1GiB";
    case lib::PageKind::kHuge2MiB: return "2MiB";
    case lib::PageKind::kTransparent: return "thp";
    case lib::PageKind::kSmall4KiB: return "4KiB";
  }
  return "unknown";
}

const char* steal_word(StealReason reason) {
  switch (reason) {
    case StealReason::kIdle: return "idle";
    case StealReason::kStarving: return "starving";
    case StealReason::kTrim: return "trim";
    case StealReason::kQuota: return "quota";
  }
  return "other";
}

const char* failure_word(std::uint32_t reason) {
  switch (static_cast<lib::FailureReason>(reason)) {
    case lib::FailureReason::kBudgetExhausted: return "budget_exhausted";
    case lib::FailureReason::kQuotaExceeded: return "quota_exceeded";
    case lib::FailureReason::kTimedOut: return "timed_out";
    case lib::FailureReason::kWouldWait: return "would_wait";
    case lib::FailureReason::kNoDaemon: return "no_daemon";
    case lib::FailureReason::kTooManyOrders: return "too_many_orders";
    case lib::FailureReason::kInvalidSize: return "invalid_size";
    case lib::FailureReason::kOther: return "other";
  }
  return "other";
}

const char* release_word(ReleaseReason reason) {
  switch (reason) {
    case ReleaseReason::kOrder: return "order";
    case ReleaseReason::kIdle: return "idle";
    case ReleaseReason::kPressure: return "pressure";
    case ReleaseReason::kShrink: return "shrink";
    case ReleaseReason::kCommand: return "command";
  }
  return "command";
}

const char* pressure_word(PressureSource source) {
  switch (source) {
    case PressureSource::kStall: return "stall";
    case PressureSource::kCgroup: return "cgroup_stall";
    case PressureSource::kHigh: return "memory_high";
    case PressureSource::kMax: return "memory_max";
  }
  return "stall";
}

}  // namespace zeropool::daemon
