#pragma once
// Tracepoints for bpftrace and perf: what happens where a get or put does not end in its thread's own cache. Each is a nop and
// a note in the ELF file (sys/sdt.h, provider "zeropool"); who traces puts a breakpoint onto the nop. Nothing is asked at run
// time, so arguments must be values that are at hand anyway: no call, no search, no conversion for their sake.
//
// Nothing that a user's program compiles includes this: the hit path has none. What they mean: docs/tracepoints.md, which a
// test compares with what was built.
//
// Thread safety: nothing is shared. Without ZEROPOOL_TRACEPOINTS they are nothing at all.
// Units: bytes; nanoseconds of CLOCK_MONOTONIC. `pool` is the pool's name; `order` the word of its cell as it was posted,
// the same in the client and in the daemon.

#include <cstdint>

#ifdef ZEROPOOL_TRACEPOINTS
#include <sys/sdt.h>
#define ZEROPOOL_TRACE(arguments, name, ...) STAP_PROBE##arguments(zeropool, name, __VA_ARGS__)
#else
#define ZEROPOOL_TRACE(arguments, name, ...) unused(__VA_ARGS__)
#endif

namespace zeropool::inline v1::lib::tracepoint {

template <typename... Values>
constexpr void unused(Values...) noexcept {}

// libzeropool. A thread looked for a magazine in its ring: its number, or kNone where the ring had none. `contention`: CASes
// lost to others, and magazines passed over, on the way.
inline void claim(const char* pool, std::uint64_t class_bytes, std::uint32_t magazine,
                  std::uint32_t contention) noexcept {
  ZEROPOOL_TRACE(4, claim, pool, class_bytes, magazine, contention);
}

// libzeropool. An order was posted.
inline void order(const char* pool, std::uint32_t cell, std::uint64_t order_word,
                  std::uint64_t posted_ns, std::uint64_t deadline_ns) noexcept {
  ZEROPOOL_TRACE(5, order, pool, cell, order_word, posted_ns, deadline_ns);
}

// libzeropool. A get failed. `error`: an ErrorCode, ZP_... of zeropool.h.
inline void failure(const char* pool, std::uint64_t class_bytes, std::uint32_t error) noexcept {
  ZEROPOOL_TRACE(3, failure, pool, class_bytes, error);
}

// libzeropool. A buffer was released to be handed off; `receiver`: a client's id, or 0 for whoever has the handle.
inline void hand_off(const char* pool, std::uint64_t class_bytes, std::uint32_t slot,
                     std::uint64_t generation, std::uint32_t receiver) noexcept {
  ZEROPOOL_TRACE(5, hand_off, pool, class_bytes, slot, generation, receiver);
}

// libzeropool. It was adopted: class, slot and generation as at its hand-off.
inline void adopt(const char* pool, std::uint64_t class_bytes, std::uint32_t slot,
                  std::uint64_t generation) noexcept {
  ZEROPOOL_TRACE(4, adopt, pool, class_bytes, slot, generation);
}

// zeropoold. An order was granted, all of its `bytes`.
inline void grant(const char* pool, std::uint32_t cell, std::uint64_t order_word,
                  std::uint64_t bytes, std::uint64_t posted_ns) noexcept {
  ZEROPOOL_TRACE(5, grant, pool, cell, order_word, bytes, posted_ns);
}

// zeropoold. An order was refused; `error` 0: it had asked for room only, and there is some.
inline void refuse(const char* pool, std::uint32_t cell, std::uint64_t order_word,
                   std::uint64_t bytes, std::uint64_t posted_ns, std::uint32_t error) noexcept {
  ZEROPOOL_TRACE(6, refuse, pool, cell, order_word, bytes, posted_ns, error);
}

// zeropoold. A client of process `pid` was reclaimed: what it held and cached came back; begun at `begun_ns`.
inline void reclaim(const char* pool, std::uint32_t client, std::int32_t pid,
                    std::uint64_t held_slots, std::uint64_t cached_slots,
                    std::uint64_t begun_ns) noexcept {
  ZEROPOOL_TRACE(6, reclaim, pool, client, pid, held_slots, cached_slots, begun_ns);
}

// zeropoold. Memory was looked for to give back; 0 extents: there was none. `reason`: a ReleaseReason.
inline void trim(const char* pool, std::uint64_t extents, std::uint64_t bytes,
                 std::uint32_t reason) noexcept {
  ZEROPOOL_TRACE(4, trim, pool, extents, bytes, reason);
}

// zeropoold. An arena has other pages than those that were wished first. `wished`, `got`: a PageSize.
inline void fall_back(const char* pool, std::uint32_t node, std::uint32_t wished,
                      std::uint32_t got) noexcept {
  ZEROPOOL_TRACE(4, fall_back, pool, node, wished, got);
}

}  // namespace zeropool::v1::lib::tracepoint
