#pragma once
// A full memory barrier in every thread of every client, by membarrier(2): clients register for it at their attach.
//
// Thread safety: functions without state.

namespace zeropool::daemon {

// False: the kernel has none (before 4.16), or a filter forbids it.
bool barrier_in_clients() noexcept;

}  // namespace zeropool::daemon
