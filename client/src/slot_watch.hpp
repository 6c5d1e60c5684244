#pragma once
// SlotWatch: finds programs that touch a slot after its put, or beyond the size that they asked for.
//
//   AddressSanitizer, Valgrind   a slot is closed at its put and release, opened at its get and adopt, up to its size
//   ZEROPOOL_DEBUG=poison        a slot is filled at its put and checked at its next get, by whatever process
//   ZEROPOOL_DEBUG=guard         what lies between size and capacity is filled at get, checked at put and release
//
// An attachment that is watched shows its caches to nobody but the slow path (thread_state.hpp): there is nothing
// about all this in a hit.
//
// Thread safety: a slot's functions are for whoever holds the slot; the others as they say.
// Invariants:
//   W1  What is done at a put or release is done before its commit: after it, the slot may be another's.
//   W2  The stamp beside a mark names the generation that the filled slot is free with: whoever has had it since,
//       watched or not, has made another generation of it.
// Crash safety: a kill before the commit of a put leaves a held slot, filled or not, with the stamp written last; the
// put that reclaim makes of it gives it the very generation that the stamp names.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <zeropool.h>
#include <zeropool/lib/segment.hpp>
#include <zeropool/lib/slot_mark.hpp>

#include "memory_checkers.hpp"

namespace zeropool::client {

struct Attachment;

class SlotWatch {
 public:
  bool on() const noexcept { return on_; }
  bool valgrind() const noexcept { return checkers_.valgrind; }

  // Before the attach: what is asked for, and what this process runs under. Caller holds the registry.
  void choose() noexcept;
  // At the attach, when the rings are there. Caller holds guard->lock.
  void set_up(const Attachment& attachment) noexcept;
  // Before the memory is unmapped, and in a forked child, where it is not mapped: nothing of it is closed any more.
  void open_all() noexcept;

  // A get has served it; the buffer says which slot and how many bytes. `clear`: all of its bytes become 0.
  void got(const Attachment& attachment, const zp_buffer& buffer, bool clear) noexcept;
  void adopted(const Attachment& attachment, const zp_buffer& buffer) noexcept;
  // This process holds it and is about to put it, to release it (W1).
  void before_put(const Attachment& attachment, std::uint32_t ring, std::uint32_t slot,
                  lib::Mark held) noexcept;
  void before_release(const Attachment& attachment, std::uint32_t ring,
                      std::uint32_t slot) noexcept;
  // This process is about to share it; it has a hold of a shared one. What it still reads after its last hold is not
  // found: another thread may have one again at any time.
  void before_share(const Attachment& attachment, std::uint32_t ring, std::uint32_t slot) noexcept;
  void shared(std::uint32_t ring, std::uint32_t slot, std::uint64_t bytes) noexcept;
  // This process owns the magazine that the free slot lies in, and writes zeros into the slot's memory in between.
  void before_clearing(std::uint32_t ring, std::uint32_t slot) noexcept;
  void after_clearing(std::uint32_t ring, std::uint32_t slot) noexcept;
  // It now has that many bytes.
  void resized(std::uint32_t ring, std::uint32_t slot, std::uint64_t bytes) noexcept;

  // Any thread's.
  std::uint64_t writes_after_put() const noexcept {
    return writes_after_put_.load(std::memory_order_relaxed);
  }
  std::uint64_t writes_beyond_size() const noexcept {
    return writes_beyond_size_.load(std::memory_order_relaxed);
  }

 private:
  struct Ring {
    std::byte* base = nullptr;
    lib::SlotWords<std::atomic>* slots = nullptr;
    std::uint64_t class_bytes = 0;
    std::uint64_t first_border = 0;              // into borders()
    std::atomic<std::uint32_t> closed_bound{0};  // above all slots that were ever closed here
  };

  std::byte* address(const Ring& ring, std::uint32_t slot) const noexcept {
    return ring.base + slot * ring.class_bytes;
  }
  // Where the filled part of a held slot begins; 0: it has none. Zeros in a forked child.
  std::atomic<std::uint32_t>& border(const Ring& ring, std::uint32_t slot) const noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(borders_.data())[ring.first_border + slot];
  }
  void begin_hold(Ring& ring, std::uint32_t slot, std::uint64_t bytes) noexcept;
  void end_hold(const Attachment& attachment, Ring& ring, std::uint32_t slot) noexcept;
  void close(Ring& ring, std::uint32_t slot, std::uint64_t from) noexcept;
  void check_filled(const Attachment& attachment, Ring& ring, const zp_buffer& buffer) noexcept;

  bool on_ = false;
  bool poison_ = false;
  bool guard_ = false;
  MemoryCheckers checkers_;
  std::unique_ptr<Ring[]> rings_;
  std::uint32_t ring_count_ = 0;
  lib::Mapping borders_;
  std::atomic<std::uint64_t> writes_after_put_{0};
  std::atomic<std::uint64_t> writes_beyond_size_{0};
};

}  // namespace zeropool::client
