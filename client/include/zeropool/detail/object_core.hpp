#pragma once
// ObjectCore: what an ObjectPool<T> is but for the T: its shards, its shared list, its caps, its counts.
//
// Thread safety: any thread. A hit and a put touch the calling thread's shard, and read lines that are seldom written;
// all else is under the queue's lock. No user's function runs under it.
// Invariants:
//   O1  It lives until the ObjectPool is gone, each object is destroyed, and each thread that had a shard has exited, or
//       has come by again: each of them counts in refs_.
//   O2  After close() no object stays in a shard or the shared list: who puts sees it (Q1) and destroys.
//   O3  In a forked child nobody touches anything here: inherited() is looked at first.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <utility>

#include <zeropool/detail/counted_resource.hpp>
#include <zeropool/detail/object_queue.hpp>
#include <zeropool/detail/object_shard.hpp>

namespace zeropool {
inline namespace v1 {

// What was done with an ObjectPool in this process. gets = tls_hits + shared_hits + constructions + failures.
struct ObjectPoolStats {
  std::uint64_t gets = 0;
  std::uint64_t tls_hits = 0;       // served by what the calling thread keeps
  std::uint64_t shared_hits = 0;    // served by what all threads share, or another one kept
  std::uint64_t constructions = 0;  // served by the factory
  std::uint64_t failures = 0;       // at the cap for too long, or the factory threw
  std::uint64_t puts = 0;
  std::uint64_t reset_failures = 0;     // the object was destroyed
  std::uint64_t contention_events = 0;  // gets that came to the cap
  std::uint64_t objects = 0;            // there are now: in use and cached
  std::uint64_t in_use = 0;
  std::uint64_t cached = 0;
  std::uint64_t bytes = 0;  // that they have by the pool's memory resource

  double hit_rate() const noexcept {
    const auto served = static_cast<double>(gets - failures);
    return served > 0 ? static_cast<double>(tls_hits + shared_hits) / served : 0.0;
  }
};

namespace detail {

struct ObjectShape {
  std::size_t node_bytes = 0;
  std::size_t node_alignment = 0;
  std::uint32_t buckets = 1;
  std::uint32_t per_bucket = 0;  // that a thread keeps
  std::size_t max_objects = 0;   // 0: no cap
};

inline std::atomic<std::uint64_t> last_core{0};

class ObjectCore {
 public:
  static constexpr std::uint32_t kMostPerBucket = 64;

  ObjectCore(Pool pool, const MemoryResourceOptions& memory, std::size_t max_bytes,
             const ObjectShape& shape)
      : process_word_(zp_v1_process_word()),
        process_(process_word_->load(std::memory_order_relaxed)),
        id_(last_core.fetch_add(1, std::memory_order_relaxed) + 1),
        shape_(shape),
        memory_(std::move(pool), memory, max_bytes, queue_),
        shared_(std::make_unique<ObjectNode*[]>(shape.buckets)) {}
  ObjectCore(const ObjectCore&) = delete;
  ObjectCore& operator=(const ObjectCore&) = delete;

  // It is the parent's, here by fork.
  bool inherited() const noexcept {
    return process_word_->load(std::memory_order_relaxed) != process_;
  }
  const ObjectShape& shape() const noexcept { return shape_; }
  std::pmr::memory_resource* memory() noexcept { return &memory_; }

  // Null and `code`, or what the factory throws. timeout negative: for ever.
  ObjectNode* get(std::uint32_t bucket, std::chrono::nanoseconds timeout, ErrorCode& code) {
    ObjectShard* const shard = own_shard();
    if (shard != nullptr) [[likely]] {
      if (ObjectNode* node = shard->pop(bucket)) [[likely]] {
        ObjectShard::count(shard->tls_hits);
        return node;
      }
    }
    return get_slow(shard, bucket, timeout, code);
  }
  void put(ObjectNode* node) noexcept {
    if (!reset(node)) {
      reset_failures_.fetch_add(1, std::memory_order_relaxed);
      count(own_shard(), &ObjectShard::puts);
      destroy(node);
      return;
    }
    ObjectShard* const shard = own_shard();
    if (shard != nullptr && shard->push(node)) [[likely]] {
      ObjectShard::count(shard->puts);
      if (!queue_.calm()) give_up(shard);
      return;
    }
    put_slow(shard, node);
  }

  // Destroys what is cached; how many that were.
  std::size_t trim() noexcept;
  ObjectPoolStats stats() noexcept;
  // The ObjectPool is gone.
  void close() noexcept;

 protected:
  virtual ~ObjectCore();
  // An object in `at`; what it throws comes out of get().
  virtual ObjectNode* make(void* at, std::uint32_t bucket) = 0;
  virtual void unmake(ObjectNode* node) noexcept = 0;
  // False: the reset function threw.
  virtual bool reset(ObjectNode* node) noexcept = 0;

 private:
  using Lock = ObjectQueue::Lock;
  struct Making;
  struct LeaveShards;

  ObjectShard* own_shard() noexcept {
    const OwnShards::Entry& entry = own_shards.entries[id_ % OwnShards::kEntries];
    if (entry.core == id_) [[likely]]
      return entry.shard;
    return find_shard();
  }
  ObjectShard* find_shard() noexcept;
  ObjectShard* make_shard() noexcept;
  void leave(ObjectShard* shard) noexcept;
  static void leave_stale_shards() noexcept;

  ObjectNode* get_slow(ObjectShard* shard, std::uint32_t bucket, std::chrono::nanoseconds timeout,
                       ErrorCode& code);
  ObjectNode* wait_for_one(std::uint32_t bucket, std::chrono::nanoseconds timeout, bool& room);
  ObjectNode* construct(ObjectShard* shard, std::uint32_t bucket);
  void destroy(ObjectNode* node) noexcept;
  void destroy_all(ObjectNode* list) noexcept;
  bool take_room() noexcept;
  void put_slow(ObjectShard* shard, ObjectNode* node) noexcept;
  void give_up(ObjectShard* shard) noexcept;
  void count(ObjectShard* shard, std::atomic<std::uint64_t> ObjectShard::*counter) noexcept;

  // Caller holds the lock.
  void share(ObjectNode* node) noexcept {
    node->next = std::exchange(shared_[node->bucket], node);
    ++shared_count_;
  }
  ObjectNode* unshare(std::uint32_t bucket) noexcept {
    ObjectNode* node = shared_[bucket];
    if (node == nullptr) return nullptr;
    shared_[bucket] = node->next;
    --shared_count_;
    return node;
  }
  ObjectNode* find_cached(std::uint32_t bucket) noexcept;
  ObjectNode* find_cached_of_any() noexcept;
  ObjectNode* collect_all() noexcept;
  void share_all_of(ObjectShard* shard) noexcept;

  void unref() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;  // O1
  }

  // Read by every get and put, written never.
  const std::atomic<std::uint32_t>* const process_word_;
  const std::uint32_t process_;
  const std::uint64_t id_;
  const ObjectShape shape_;
  // Written where somebody waits, or the pool ends.
  alignas(64) ObjectQueue queue_;
  // Written where an object or its memory comes or goes.
  alignas(64) std::atomic<std::uint64_t> refs_{1};
  std::atomic<std::size_t> objects_{0};
  std::atomic<std::uint64_t> reset_failures_{0};
  CountedResource memory_;
  // Under the lock.
  std::unique_ptr<ObjectNode*[]> shared_;  // by bucket
  std::size_t shared_count_ = 0;
  ObjectShard* shards_ = nullptr;
  ObjectShard strays_;  // counts of threads that have no shard
};

}  // namespace detail
}  // namespace v1
}  // namespace zeropool

#include <zeropool/detail/object_core_slow.hpp>
