#pragma once
// What ObjectCore does where the thread's own shard does not serve: the shared list, the cap, threads that come and go.
//
// Thread safety, invariants: object_core.hpp.

#include <zeropool/detail/object_core.hpp>

namespace zeropool {
inline namespace v1 {
namespace detail {

// Gives up the shards of a thread at its exit.
struct ObjectCore::LeaveShards {
  bool armed = false;
  ~LeaveShards() {
    // First, for destructors of objects that get or put.
    own_shards.exited = true;
    for (OwnShards::Entry& entry : own_shards.entries) entry = {};
    while (ObjectShard* shard = own_shards.first) {
      own_shards.first = shard->next_of_thread;
      if (!shard->core->inherited()) shard->core->leave(shard);
    }
  }
};

// An object on its way: room is taken, memory may be; given back unless it is there in the end.
struct ObjectCore::Making {
  ObjectCore* core;
  ObjectShard* shard;
  void* at = nullptr;

  ~Making() {
    if (core == nullptr) return;
    core->count(shard, &ObjectShard::failures);
    core->objects_.fetch_sub(1, std::memory_order_seq_cst);  // Q1
    if (at != nullptr) {
      core->memory_.deallocate(at, core->shape_.node_bytes, core->shape_.node_alignment);
    } else {
      core->memory_.unreserve(core->shape_.node_bytes);
    }
  }
};

inline ObjectCore::~ObjectCore() {
  while (ObjectShard* shard = shards_) {
    shards_ = shard->next;
    delete[] shard->slots;
    delete[] shard->top;
    delete shard;
  }
}

inline void ObjectCore::count(ObjectShard* shard,
                              std::atomic<std::uint64_t> ObjectShard::*counter) noexcept {
  if (shard != nullptr) return ObjectShard::count(shard->*counter);
  const Lock held = queue_.lock();
  ObjectShard::count(strays_.*counter);
}

inline ObjectShard* ObjectCore::find_shard() noexcept {
  if (own_shards.exited) return nullptr;
  leave_stale_shards();
  ObjectShard* shard = own_shards.first;
  while (shard != nullptr && shard->core != this) shard = shard->next_of_thread;
  if (shard == nullptr) {
    if (queue_.closed()) return nullptr;
    shard = make_shard();
    if (shard == nullptr) return nullptr;
    static thread_local LeaveShards at_exit;
    at_exit.armed = true;  // a use, so that it is made
    shard->next_of_thread = std::exchange(own_shards.first, shard);
  }
  own_shards.entries[id_ % OwnShards::kEntries] = {id_, shard};
  return shard;
}

// Those of pools that are gone, or the parent's.
inline void ObjectCore::leave_stale_shards() noexcept {
  for (ObjectShard** at = &own_shards.first; *at != nullptr;) {
    ObjectShard* const shard = *at;
    ObjectCore* const core = shard->core;
    const bool inherited = core->inherited();
    if (!inherited && !core->queue_.closed()) {
      at = &shard->next_of_thread;
      continue;
    }
    *at = shard->next_of_thread;
    for (OwnShards::Entry& entry : own_shards.entries) {
      if (entry.shard == shard) entry = {};
    }
    if (!inherited) core->leave(shard);
  }
}

inline ObjectShard* ObjectCore::make_shard() noexcept {
  const Lock held = queue_.lock();
  ObjectShard* shard = shards_;
  while (shard != nullptr && shard->owned) shard = shard->next;
  if (shard == nullptr) {
    const std::size_t slots = std::size_t{shape_.buckets} * shape_.per_bucket;
    shard = new (std::nothrow) ObjectShard();
    if (shard == nullptr) return nullptr;
    shard->slots = new (std::nothrow) ObjectShard::Slot[slots]();
    shard->top = new (std::nothrow) std::uint32_t[shape_.buckets]();
    if (shard->slots == nullptr || shard->top == nullptr) {
      delete[] shard->slots;
      delete[] shard->top;
      delete shard;
      return nullptr;
    }
    shard->per_bucket = shape_.per_bucket;
    shard->core = this;
    shard->next = std::exchange(shards_, shard);
  }
  shard->owned = true;                            // J3
  refs_.fetch_add(1, std::memory_order_relaxed);  // O1
  return shard;
}

inline void ObjectCore::leave(ObjectShard* shard) noexcept {
  ObjectNode* doomed = nullptr;
  {
    const Lock held = queue_.lock();
    share_all_of(shard);
    shard->owned = false;
    if (queue_.closed()) doomed = collect_all();  // O2
    queue_.wake();
  }
  destroy_all(doomed);
  unref();
}

// By the owner.
inline void ObjectCore::share_all_of(ObjectShard* shard) noexcept {
  if (shape_.per_bucket == 0) return;
  for (std::uint32_t b = 0; b < shape_.buckets; ++b) {
    while (ObjectNode* node = shard->steal(b)) share(node);
    shard->top[b] = 0;
  }
}

inline ObjectNode* ObjectCore::find_cached(std::uint32_t bucket) noexcept {
  if (ObjectNode* node = unshare(bucket)) return node;
  for (ObjectShard* shard = shards_; shard != nullptr; shard = shard->next) {
    if (ObjectNode* node = shard->steal(bucket)) return node;
  }
  return nullptr;
}

inline ObjectNode* ObjectCore::find_cached_of_any() noexcept {
  for (std::uint32_t b = 0; b < shape_.buckets; ++b) {
    if (ObjectNode* node = find_cached(b)) return node;
  }
  return nullptr;
}

// All that is cached, as a list by `next`.
inline ObjectNode* ObjectCore::collect_all() noexcept {
  ObjectNode* list = nullptr;
  for (std::uint32_t b = 0; b < shape_.buckets; ++b) {
    while (ObjectNode* node = find_cached(b)) node->next = std::exchange(list, node);
  }
  return list;
}

inline bool ObjectCore::take_room() noexcept {
  std::size_t now = objects_.load(std::memory_order_seq_cst);
  do {
    if (shape_.max_objects != 0 && now >= shape_.max_objects) return false;
  } while (!objects_.compare_exchange_weak(now, now + 1, std::memory_order_seq_cst));
  if (memory_.reserve(shape_.node_bytes)) return true;
  objects_.fetch_sub(1, std::memory_order_seq_cst);
  return false;
}

inline ObjectNode* ObjectCore::construct(ObjectShard* shard, std::uint32_t bucket) {
  Making making{this, shard};
  making.at = memory_.allocate_reserved(shape_.node_bytes, shape_.node_alignment);
  ObjectNode* const node = make(making.at, bucket);
  making.core = nullptr;
  refs_.fetch_add(1, std::memory_order_relaxed);  // O1
  count(shard, &ObjectShard::constructions);
  return node;
}

inline void ObjectCore::destroy(ObjectNode* node) noexcept {
  unmake(node);
  objects_.fetch_sub(1, std::memory_order_seq_cst);  // Q1
  memory_.deallocate(node, shape_.node_bytes, shape_.node_alignment);
  unref();
}

inline void ObjectCore::destroy_all(ObjectNode* list) noexcept {
  while (list != nullptr) destroy(std::exchange(list, list->next));
}

inline ObjectNode* ObjectCore::get_slow(ObjectShard* shard, std::uint32_t bucket,
                                        std::chrono::nanoseconds timeout, ErrorCode& code) {
  ObjectNode* node = nullptr;
  {
    const Lock held = queue_.lock();
    // Who waits comes first.
    if (!queue_.anyone_waits()) {
      node = unshare(bucket);
      for (std::uint32_t i = 0; node != nullptr && shard != nullptr && i < shape_.per_bucket / 2;
           ++i) {
        ObjectNode* const another = unshare(bucket);
        if (another == nullptr) break;
        shard->push(another);  // it is empty here
      }
    }
  }
  if (node == nullptr) {
    bool room = !queue_.anyone_waits() && take_room();
    if (!room) {
      count(shard, &ObjectShard::contention);
      node = wait_for_one(bucket, timeout, room);
    }
    if (room) return construct(shard, bucket);
  }
  if (node == nullptr) {
    count(shard, &ObjectShard::failures);
    code = timeout.count() == 0 ? ErrorCode::would_wait : ErrorCode::timed_out;
    return nullptr;
  }
  count(shard, &ObjectShard::shared_hits);
  return node;
}

// An object, or room for one. Neither: none within the time.
inline ObjectNode* ObjectCore::wait_for_one(std::uint32_t bucket, std::chrono::nanoseconds timeout,
                                            bool& room) {
  const auto now = ObjectQueue::Clock::now();
  const auto longest = ObjectQueue::Clock::time_point::max() - now;
  const auto until = timeout.count() < 0 || timeout >= longest
                         ? ObjectQueue::Clock::time_point::max()
                         : now + timeout;
  Lock held = queue_.lock();
  ObjectQueue::Place place(queue_);
  // Who waits already may have looked while a take_room() of ours, given up since, had the last place.
  queue_.wake();
  for (bool in_time = timeout.count() != 0;;) {
    if (place.first()) {
      if (ObjectNode* node = find_cached(bucket)) return node;
      room = take_room();
      if (room) return nullptr;
      // What is cached of other sizes, or keeps the bytes, makes room.
      if (ObjectNode* other = find_cached_of_any()) {
        if (other->bucket == bucket) return other;
        held.unlock();
        destroy(other);
        held.lock();
        continue;
      }
    }
    if (!in_time) return nullptr;
    in_time = place.wait(held, until);
  }
}

inline void ObjectCore::put_slow(ObjectShard* shard, ObjectNode* node) noexcept {
  ObjectNode* doomed = nullptr;
  {
    const Lock held = queue_.lock();
    ObjectShard::count((shard != nullptr ? shard : &strays_)->puts);
    if (shard != nullptr && shape_.per_bucket != 0) {
      // The older half goes to all; what others took from the shard has left holes, so it is packed anew.
      ObjectNode* kept[kMostPerBucket];
      std::uint32_t count = 0;
      while (ObjectNode* old = shard->steal(node->bucket)) kept[count++] = old;
      shard->top[node->bucket] = 0;
      const std::uint32_t shared = queue_.calm() ? (count + 1) / 2 : count;
      for (std::uint32_t i = 0; i < count; ++i) {
        if (i < shared) {
          share(kept[i]);
        } else {
          shard->push(kept[i]);
        }
      }
    }
    if (shard == nullptr || !queue_.calm() || !shard->push(node)) share(node);
    if (queue_.closed()) doomed = collect_all();  // O2
    queue_.wake();
  }
  destroy_all(doomed);
}

// Somebody waits, or the pool is gone: what the thread keeps goes to all.
inline void ObjectCore::give_up(ObjectShard* shard) noexcept {
  ObjectNode* doomed = nullptr;
  {
    const Lock held = queue_.lock();
    share_all_of(shard);
    if (queue_.closed()) doomed = collect_all();  // O2
    queue_.wake();
  }
  destroy_all(doomed);
}

inline std::size_t ObjectCore::trim() noexcept {
  ObjectNode* doomed = nullptr;
  {
    const Lock held = queue_.lock();
    doomed = collect_all();
  }
  std::size_t count = 0;
  for (ObjectNode* node = doomed; node != nullptr; node = node->next) ++count;
  destroy_all(doomed);
  return count;
}

inline void ObjectCore::close() noexcept {
  ObjectNode* doomed = nullptr;
  {
    const Lock held = queue_.lock();
    queue_.close();
    doomed = collect_all();
  }
  destroy_all(doomed);
  unref();
}

inline ObjectPoolStats ObjectCore::stats() noexcept {
  ObjectPoolStats stats;
  const Lock held = queue_.lock();
  const auto add = [&stats](const ObjectShard& shard) {
    const auto read = [](const std::atomic<std::uint64_t>& counter) {
      return counter.load(std::memory_order_relaxed);
    };
    stats.tls_hits += read(shard.tls_hits);
    stats.shared_hits += read(shard.shared_hits);
    stats.constructions += read(shard.constructions);
    stats.failures += read(shard.failures);
    stats.puts += read(shard.puts);
    stats.contention_events += read(shard.contention);
  };
  add(strays_);
  stats.cached = shared_count_;
  const std::size_t slots = std::size_t{shape_.buckets} * shape_.per_bucket;
  for (const ObjectShard* shard = shards_; shard != nullptr; shard = shard->next) {
    add(*shard);
    for (std::size_t i = 0; i < slots; ++i) {
      if (shard->slots[i].load(std::memory_order_relaxed) != nullptr) ++stats.cached;
    }
  }
  stats.gets = stats.tls_hits + stats.shared_hits + stats.constructions + stats.failures;
  stats.reset_failures = reset_failures_.load(std::memory_order_relaxed);
  stats.objects = objects_.load(std::memory_order_relaxed);
  stats.cached = std::min(stats.cached, stats.objects);
  stats.in_use = stats.objects - stats.cached;
  stats.bytes = memory_.bytes();
  return stats;
}

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
