#pragma once
// The ways to come to an object: made each time, from Boost's pools, from an ObjectPool.
//
// Thread safety: use() of one maker from any threads, but for those that say otherwise.

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <mutex>

#include <boost/pool/object_pool.hpp>
#include <boost/pool/pool_alloc.hpp>

#include <zeropool/zeropool.hpp>

namespace zeropool_objects {

template <typename T>
class Plain {
 public:
  static constexpr const char* kName = "made and destroyed, operator new";
  explicit Plain(const zeropool::Pool&) {}
  template <typename Use>
  void use(const Use& use) {
    const auto object = std::make_unique<T>();
    use(*object);
  }
};

// What T allocates is from the pool; the object itself is made each time.
template <typename T>
class OnResource {
 public:
  static constexpr const char* kName = "made and destroyed, zeropool::MemoryResource";
  explicit OnResource(const zeropool::Pool& pool) : memory_(pool) {}
  template <typename Use>
  void use(const Use& use) {
    T object{std::pmr::polymorphic_allocator<std::byte>(&memory_)};
    use(object);
  }

 private:
  zeropool::MemoryResource memory_;
};

// boost::object_pool keeps memory, not objects: each is constructed and destroyed. Its destroy() looks for its place in
// an ordered list. Not thread-safe, so it gets a lock; objects are made and destroyed outside it.
template <typename T>
class BoostObjectPool {
 public:
  static constexpr const char* kName = "boost::object_pool, with a lock";
  explicit BoostObjectPool(const zeropool::Pool&) {}
  template <typename Use>
  void use(const Use& use) {
    T* place = nullptr;
    {
      const std::lock_guard held(lock_);
      place = pool_.malloc();
    }
    T* object = std::construct_at(place);
    use(*object);
    std::destroy_at(object);
    const std::lock_guard held(lock_);
    pool_.free(place);
  }

 private:
  std::mutex lock_;
  boost::object_pool<T> pool_;
};

// The same without the lock: of one thread only.
template <typename T>
class BoostObjectPoolOfOne {
 public:
  static constexpr const char* kName = "boost::object_pool";
  explicit BoostObjectPoolOfOne(const zeropool::Pool&) {}
  template <typename Use>
  void use(const Use& use) {
    T* object = pool_.construct();
    use(*object);
    pool_.destroy(object);
  }

 private:
  boost::object_pool<T> pool_;
};

// A singleton of all threads, with its own lock.
template <typename T>
class BoostFastAllocator {
 public:
  static constexpr const char* kName = "boost::fast_pool_allocator";
  explicit BoostFastAllocator(const zeropool::Pool&) {}
  template <typename Use>
  void use(const Use& use) {
    using Allocator = boost::fast_pool_allocator<T>;
    T* object = std::construct_at(Allocator::allocate());
    use(*object);
    std::destroy_at(object);
    Allocator::deallocate(object);
  }
};

template <typename T>
class Recycled {
 public:
  static constexpr const char* kName = "zeropool::ObjectPool";
  explicit Recycled(const zeropool::Pool& pool) : pool_(pool) {}
  template <typename Use>
  void use(const Use& use) {
    const zeropool::PooledObject<T> object = pool_.get();
    use(*object);
  }

 private:
  zeropool::ObjectPool<T> pool_;
};

}  // namespace zeropool_objects
