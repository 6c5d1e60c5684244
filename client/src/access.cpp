#include "access.hpp"

#include "order.hpp"
#include "thread_records.hpp"

namespace zeropool::client {
namespace {

constexpr std::int64_t kRecordWaitNs = 1'000'000'000;  // of what has no deadline of its own

}  // namespace

Access::Access(Attachment& attachment, Patience patience) noexcept {
  code_ = ensure_attached(attachment);
  if (code_ != 0 || enter(attachment)) return;
  lacks_record_ = code_ == 0;
  if (!lacks_record_) return;
  code_ = patience == Patience::kNone ? no_record(attachment)
                                      : await_cache(attachment, monotonic_ns() + kRecordWaitNs);
  if (code_ != 0) return;
  lacks_record_ = !enter(attachment) && code_ == 0;
  if (lacks_record_) code_ = no_record(attachment);
}

bool Access::enter(Attachment& attachment) noexcept {
  OwnThread* thread = own_thread();
  ThreadCache* hot = thread == nullptr ? nullptr : thread->cache(attachment.index);
  if (hot != nullptr) {
    cache_ = client_cache_of(hot);
  } else {
    overflow_lock_.emplace(attachment.guard->lock);
    if (thread != nullptr && may_take_record(attachment)) {
      cache_ = make_cache(attachment, thread, code_);
    }
    if (cache_ != nullptr) {
      overflow_lock_.reset();
    } else {
      if (attachment.overflow == nullptr)
        attachment.overflow = make_cache(attachment, nullptr, code_);
      cache_ = attachment.overflow;
      if (cache_ == nullptr) {
        overflow_lock_.reset();
        return false;
      }
    }
  }
  code_ = 0;  // a thread without memory for its own may use the shared one
  ops_.emplace(attachment, *cache_);
  ops_->begin();
  return true;
}

Access::~Access() {
  if (ops_) ops_->end();
}

int await_cache(Attachment& attachment, std::int64_t deadline_ns) noexcept {
  for (;;) {
    {
      // A cache once made stays: the thread's, or the one that its process shares.
      const Access access(attachment, Patience::kNone);
      if (!access.lacks_record()) return access.code();
    }
    if (const int code = wait_for_records(attachment, deadline_ns); code != 0) return code;
  }
}

}  // namespace zeropool::client
