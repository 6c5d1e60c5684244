#pragma once
// A lock that a forked child finds open: it lives in memory that fork wipes, and all zero is an open mutex.
//
// Thread safety: any number of threads of one process. Not recursive.

#include <pthread.h>
#include <type_traits>

namespace zeropool::client {

struct WipedLock {
  pthread_mutex_t mutex;  // all zero: PTHREAD_MUTEX_INITIALIZER on glibc
};
static_assert(std::is_trivially_default_constructible_v<WipedLock>);

class Locked {
 public:
  explicit Locked(WipedLock& lock) noexcept : lock_(&lock) { pthread_mutex_lock(&lock.mutex); }
  ~Locked() {
    if (lock_ != nullptr) pthread_mutex_unlock(&lock_->mutex);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  void unlock() noexcept {
    pthread_mutex_unlock(&lock_->mutex);
    lock_ = nullptr;
  }

 private:
  WipedLock* lock_;
};

}  // namespace zeropool::client
