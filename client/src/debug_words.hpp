#pragma once
// $ZEROPOOL_DEBUG: what a program's owner wants to have checked.
//
// Thread safety: functions are.

namespace zeropool::client {

struct DebugWords {
  bool poison = false;  // fill what is put, check it at the next get
  bool guard = false;   // fill what lies beyond a buffer's size, check it at its put or release
  bool off = false;     // nothing is watched, not even for AddressSanitizer and Valgrind
};

// Words with commas between them. One that there is not is named on standard error, once in a process, and ignored.
DebugWords debug_words() noexcept;

}  // namespace zeropool::client
