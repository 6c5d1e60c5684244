#pragma once
// Ordering within one thread.
//
// A kill falls between two instructions, so what a dead thread wrote is a prefix of its program: between the
// steps of get and put only the compiler has to be held back. The edges between threads are carried by the
// acquire and release operations named in batch_ring.hpp, hand_off.hpp and order_cell.hpp. Who looks at a living thread's
// words without them puts a membarrier between (cache_steal.hpp, ring_audit.hpp). All edges, and why that is enough on a
// machine that lets stores pass each other: docs/memory-order.md.

#include <atomic>

namespace zeropool::inline v1::lib {

// Stops the compiler, not the processor, from moving accesses across it.
inline void program_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace zeropool::v1::lib
