#pragma once
// FailPlan: which call of which kind shall fail, and how. A file that the test and the processes under test have mapped.
//
// Thread safety: the test writes `kind` last when it arms, first when it disarms; the shim counts with atomics.

#include <atomic>
#include <cstdint>

namespace zeropool::testing {

// One a wrapper of libc (with its 64-bit aliases), or a number of syscall().
enum class CallKind : std::uint32_t {
  kNone,
  kMmap,
  kMadvise,
  kFallocate,
  kFtruncate,
  kMemfdCreate,
  kEventfd,
  kEventfdWrite,
  kTimerfdCreate,
  kSignalfd,
  kEpollCreate,
  kEpollCtl,
  kEpollWait,
  kSocket,
  kSocketpair,
  kBind,
  kListen,
  kConnect,
  kAccept,
  kGetsockopt,
  kRecvmsg,
  kSendmsg,
  kRead,
  kWrite,
  kOpen,
  kFopen,
  kFcntl,
  kFlock,
  kFchmod,
  kMkdir,
  kPoll,
  kGetrandom,
  kSetMempolicy,
  kPthreadCreate,
  kPidfdOpen,
  kMembarrier,
  kFutex,
};

struct FailPlan {
  std::atomic<std::uint32_t> kind;  // CallKind; kNone: nothing fails
  std::atomic<std::uint32_t> nth;   // 1: the next call of that kind
  std::atomic<std::int32_t> error;  // errno; 0: a read of a file brings half of what it could
  std::atomic<std::uint32_t> seen;  // calls of that kind since it was armed
  std::atomic<std::uint32_t> hits;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline constexpr const char* kFailPlanVariable = "ZEROPOOL_FAIL_PLAN";  // the file's path

}  // namespace zeropool::testing
