#pragma once
// Access: the calling thread's cache in a pool for the length of one slow operation; the overflow cache, under
// its lock, for a thread that cannot have one (thread records spent, or the thread is exiting).
//
// Thread safety: one thread's, on its stack. Never held while waiting.

#include <optional>

#include "attachment.hpp"
#include "cache_ops.hpp"
#include "last_error.hpp"

namespace zeropool::client {

class Access {
 public:
  // Attaches, and makes the cache, if need be. code() is not 0 where neither can be had.
  explicit Access(Attachment& attachment) noexcept;
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  int code() const noexcept { return code_; }
  ClientCache& cache() noexcept { return *cache_; }
  CacheOps& ops() noexcept { return *ops_; }

 private:
  ClientCache* cache_ = nullptr;
  int code_ = 0;
  std::optional<Locked> overflow_lock_;
  std::optional<CacheOps> ops_;
};

}  // namespace zeropool::client
