#pragma once
// ObjectShard: the objects that one thread keeps of one ObjectPool, and which shard is the calling thread's.
//
// Thread safety: a shard is one thread's, its owner's; others may take objects out of it, and read its counters.
// Invariants:
//   J1  Only the owner makes a slot non-null, so a slot that the owner has found empty stays so until it fills it.
//   J2  An object leaves a slot by exchange, so one takes it, the owner or another.
//   J3  A shard is handed on to another thread under its core's lock, when its owner has exited.
// Crash safety: none is needed, it is this process's own memory; the slots of the pool under the objects are the
// client's, and are reclaimed with it.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace zeropool {
inline namespace v1 {
namespace detail {

// In front of each object.
struct ObjectNode {
  ObjectNode* next = nullptr;  // in the core's list
  std::uint32_t bucket = 0;
};

class ObjectCore;

struct alignas(64) ObjectShard {
  using Slot = std::atomic<ObjectNode*>;

  // Written by the owner; stale is fine for who reads statistics.
  std::atomic<std::uint64_t> tls_hits{0};
  std::atomic<std::uint64_t> shared_hits{0};
  std::atomic<std::uint64_t> constructions{0};
  std::atomic<std::uint64_t> failures{0};
  std::atomic<std::uint64_t> puts{0};
  std::atomic<std::uint64_t> contention{0};
  // Under the core's lock.
  ObjectShard* next = nullptr;  // of the core's shards
  bool owned = false;
  // The owner's.
  ObjectCore* core = nullptr;
  ObjectShard* next_of_thread = nullptr;
  Slot* slots = nullptr;         // [bucket * per_bucket + i]
  std::uint32_t* top = nullptr;  // [bucket]: slots at and above it are empty (J1)
  std::uint32_t per_bucket = 0;

  static void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // The one put last. Null: there is none.
  ObjectNode* pop(std::uint32_t bucket) noexcept {
    Slot* const first = slots + std::size_t{bucket} * per_bucket;
    for (std::uint32_t i = top[bucket]; i > 0; --i) {
      if (first[i - 1].load(std::memory_order_relaxed) == nullptr) continue;  // taken (J2)
      // J-take: pairs with the exchange of push(): the object as its putter left it.
      ObjectNode* const node = first[i - 1].exchange(nullptr, std::memory_order_acquire);
      if (node == nullptr) continue;
      top[bucket] = i - 1;
      return node;
    }
    top[bucket] = 0;
    return nullptr;
  }
  // False: it is full.
  bool push(ObjectNode* node) noexcept {
    std::uint32_t& at = top[node->bucket];
    if (at == per_bucket) return false;
    // seq_cst: whoever puts looks at the core's `attention` after this, whoever waits looks at the slots after raising
    // it: one of them sees the other.
    slots[std::size_t{node->bucket} * per_bucket + at].exchange(node, std::memory_order_seq_cst);
    ++at;
    return true;
  }
  // By anybody: the one put first.
  ObjectNode* steal(std::uint32_t bucket) noexcept {
    Slot* const first = slots + std::size_t{bucket} * per_bucket;
    for (std::uint32_t i = 0; i < per_bucket; ++i) {
      if (first[i].load(std::memory_order_seq_cst) == nullptr) continue;
      if (ObjectNode* node = first[i].exchange(nullptr, std::memory_order_seq_cst)) return node;
    }
    return nullptr;
  }
};

// Which shard is whose, for the hit path: a lossy table by core number. All zero when the thread has none.
struct OwnShards {
  static constexpr std::size_t kEntries = 16;
  struct Entry {
    std::uint64_t core = 0;
    ObjectShard* shard = nullptr;
  };
  Entry entries[kEntries];
  ObjectShard* first = nullptr;  // all, by next_of_thread
  bool exited = false;           // no more shards: the thread's last destructors run
};
inline constinit thread_local OwnShards own_shards{};

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
