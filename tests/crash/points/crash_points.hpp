#pragma once
// Crash points: a process that kills itself with SIGKILL right before its n-th store to what others may see.
//
// In programs of tests/crash/points only: they are compiled so that each store calls the runtime. A point is an
// atomic store, exchange or CAS anywhere (those to private memory are some kills too many), or a plain store into a
// shared mapping that was there when counting began. The kill before store n leaves what a kill between store n - 1
// and store n leaves: with n from 1 to the last, every state that others can see. That the compiler keeps these
// stores in order is not shown here, but by the sweep over instructions (every_instruction.cpp).
//
// Thread safety: any thread. The words may lie in memory that the killed process shares with its killer.

#include <cstdint>

namespace zeropool::testing {

struct CrashPoints {
  std::uint64_t kill_at = 0;  // 0: not counting. kJustCount: never kills
  std::uint64_t seen = 0;     // since it was last armed

  static constexpr std::uint64_t kJustCount = ~std::uint64_t{0};

  void arm(std::uint64_t at) noexcept;
  void disarm() noexcept;
  std::uint64_t count() const noexcept;
};

// Makes this process count in `points`; it must stay. A program that has no test's main takes the file named by the
// environment variable below.
void count_crash_points_in(CrashPoints* points) noexcept;

inline constexpr const char* kCrashPointsFile = "ZEROPOOL_CRASH_POINTS_FILE";

}  // namespace zeropool::testing
