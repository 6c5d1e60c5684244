#include "access.hpp"

namespace zeropool::client {
namespace {

constexpr const char* kNoRecords =
    "the pool has no thread record free for this process: raise limits.threads of zeropoold, or "
    "use "
    "fewer threads";

}  // namespace

Access::Access(Attachment& attachment) noexcept {
  code_ = ensure_attached(attachment);
  if (code_ != 0) return;
  OwnThread* thread = own_thread();
  ThreadCache* hot = thread == nullptr ? nullptr : thread->cache(attachment.index);
  if (hot != nullptr) {
    cache_ = client_cache_of(hot);
  } else {
    overflow_lock_.emplace(attachment.guard->lock);
    if (thread != nullptr) cache_ = make_cache(attachment, thread);
    if (cache_ != nullptr) {
      overflow_lock_.reset();
    } else {
      if (attachment.overflow == nullptr) attachment.overflow = make_cache(attachment, nullptr);
      cache_ = attachment.overflow;
      if (cache_ == nullptr) {
        overflow_lock_.reset();
        code_ = fail(ErrorCode::too_many_clients, kNoRecords);
        return;
      }
    }
  }
  ops_.emplace(attachment, *cache_);
  ops_->begin();
}

Access::~Access() {
  if (ops_) ops_->end();
}

}  // namespace zeropool::client
