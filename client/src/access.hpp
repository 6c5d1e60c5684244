#pragma once
// Access: the calling thread's cache in a pool for the length of one slow operation; the overflow cache, under
// its lock, for a thread that cannot have one (thread records spent, or the thread is exiting).
//
// Thread safety: one thread's, on its stack. Never held while waiting: it waits, if at all, before it is had.

#include <cstdint>
#include <optional>

#include "attachment.hpp"
#include "cache_ops.hpp"
#include "last_error.hpp"

namespace zeropool::client {

// Whether to wait where the process has no cache yet and no thread record is free: many threads may come at once, and
// zeropoold makes records as they are asked for.
enum class Patience { kNone, kBounded };

class Access {
 public:
  // Attaches, and makes the cache, if need be. code() is not 0 where neither can be had.
  explicit Access(Attachment& attachment, Patience patience = Patience::kBounded) noexcept;
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  int code() const noexcept { return code_; }
  // code() says that there was no record: later there may be one.
  bool lacks_record() const noexcept { return lacks_record_; }
  ClientCache& cache() noexcept { return *cache_; }
  CacheOps& ops() noexcept { return *ops_; }

 private:
  // False: there is no record, and code_ is 0; or code_ says what else it is.
  bool enter(Attachment& attachment) noexcept;

  ClientCache* cache_ = nullptr;
  int code_ = 0;
  bool lacks_record_ = false;
  std::optional<Locked> overflow_lock_;
  std::optional<CacheOps> ops_;
};

// Waits until an Access can be had, with nothing held. 0, or why not, by then at the latest.
int await_cache(Attachment& attachment, std::int64_t deadline_ns) noexcept;

}  // namespace zeropool::client
