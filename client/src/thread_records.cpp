#include "thread_records.hpp"

#include <algorithm>
#include <string>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "last_error.hpp"
#include "order.hpp"

namespace zeropool::client {
namespace {

constexpr std::int64_t kPauseNs = 1'000'000;

std::uint32_t published_records(Attachment& attachment) noexcept {
  const lib::ControlHeader& header = attachment.header();
  return std::min(header.threads_published.load(std::memory_order_acquire), header.thread_capacity);
}

// Of all that there can be, those for threads' own caches (T2).
std::uint32_t records_of_threads(Attachment& attachment) noexcept {
  const lib::ControlHeader& header = attachment.header();
  const std::uint32_t capacity = header.thread_capacity;
  const std::uint32_t left = capacity - std::min(header.client_capacity, capacity);
  // Both limits together are above what a pool can have: then half of it at least.
  return std::max(left, capacity == lib::kMaxThreads ? capacity / 2 : 1);
}

bool is_free(Attachment& attachment, std::uint32_t number) noexcept {
  // Stale is fine: the CAS decides, and who counts one too few has taken one and counts again.
  return attachment.view.thread(number).owner.load(std::memory_order_relaxed) == 0;
}

// Whether at least `wanted` of the published ones are free.
bool has_free(Attachment& attachment, std::uint32_t published, std::uint32_t wanted) noexcept {
  for (std::uint32_t n = 0; n < published && wanted > 0; ++n) {
    if (is_free(attachment, n)) --wanted;
  }
  return wanted == 0;
}

void ask_for_more(Attachment& attachment, std::uint32_t published) noexcept {
  lib::ControlHeader& header = attachment.header();
  if (published == header.thread_capacity) return;
  header.threads_wanted.store(1, std::memory_order_relaxed);
  ring_if_asleep(attachment);
}

// Whether more than `most` of the published ones are threads' own. (T2)
bool more_than(Attachment& attachment, std::uint32_t published, std::uint32_t most) noexcept {
  std::uint32_t used = 0;
  for (std::uint32_t n = 0; n < published && used <= most; ++n) {
    if (is_free(attachment, n)) continue;
    // Stale is fine: who takes one writes it before its fence.
    if (attachment.view.thread(n).tid.load(std::memory_order_relaxed) != 0) ++used;
  }
  return used > most;
}

// The first free one, by the CAS of its owner word. `tid`: 0 for a shared cache.
std::uint32_t take(Attachment& attachment, std::uint32_t published, std::uint32_t tid,
                   lib::OwnerWord& me) noexcept {
  for (std::uint32_t n = 0; n < published; ++n) {
    if (!is_free(attachment, n)) continue;
    std::uint64_t expected = 0;
    me = lib::OwnerWord::thread(attachment.client_id, attachment.epoch, n);
    if (attachment.view.thread(n).owner.compare_exchange_strong(
            expected, me.word, std::memory_order_acq_rel)) {  // COMMIT
      attachment.view.thread(n).tid.store(tid, std::memory_order_relaxed);
      if (n + 1 + n / 8 >= published) ask_for_more(attachment, published);  // before they are spent
      return n;
    }
  }
  ask_for_more(attachment, published);
  return lib::kNone;
}

std::uint32_t take_for_thread(Attachment& attachment, lib::OwnerWord& me) noexcept {
  // T2: whether more are in use than threads may have, when `more` are taken as well.
  const auto too_many = [&](std::uint32_t more) {
    const std::uint32_t published = published_records(attachment);
    const std::uint32_t most = records_of_threads(attachment);
    return published > most && !has_free(attachment, published, published - most + more) &&
           more_than(attachment, published, most - more);
  };
  if (too_many(1)) return lib::kNone;
  const std::uint32_t published = published_records(attachment);
  if (attachment.overflow == nullptr && !has_free(attachment, published, 2)) {  // T3
    ask_for_more(attachment, published);
    return lib::kNone;
  }
  const std::uint32_t number =
      take(attachment, published, static_cast<std::uint32_t>(::syscall(SYS_gettid)), me);
  if (number == lib::kNone) return number;
  // Of those who take the last ones at once, the last to pass its fence sees all the others' records.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!too_many(0)) return number;
  std::uint64_t mine = me.word;
  attachment.view.thread(number).owner.compare_exchange_strong(mine, 0, std::memory_order_release);
  return lib::kNone;
}

}  // namespace

bool may_take_record(Attachment& attachment) noexcept {
  return attachment.overflow == nullptr ||
         attachment.record_pause.over(published_records(attachment), monotonic_ns());  // T5
}

std::uint32_t take_thread_record(Attachment& attachment, lib::OwnerWord& me) noexcept {
  const std::uint32_t number = take_for_thread(attachment, me);
  if (number == lib::kNone) {
    attachment.record_pause.refused(published_records(attachment), monotonic_ns());
  } else {
    attachment.record_pause.end();
  }
  return number;
}
std::uint32_t take_shared_record(Attachment& attachment, lib::OwnerWord& me) noexcept {
  return take(attachment, published_records(attachment), 0, me);
}

int no_record(Attachment& attachment) noexcept {
  const std::uint32_t published = published_records(attachment);
  const std::string pool = std::string("pool ") + attachment.header().pool_name + ": ";
  if (published == attachment.header().thread_capacity) {
    return fail(
        ErrorCode::too_many_clients,
        pool + "all " + std::to_string(published) +
            " thread records are in use (limits.threads, and one for each of "
            "limits.clients): raise limits.threads in zeropoold.yaml, or use fewer threads");
  }
  return fail(
      ErrorCode::timed_out,
      pool + "all " + std::to_string(published) +
          " thread records that are there are in use, and zeropoold has made no more of " +
          std::to_string(attachment.header().thread_capacity) +
          " within the time allowed: it is busy, or the budget or the pool's limit is spent");
}

int wait_for_records(Attachment& attachment, std::int64_t deadline_ns) noexcept {
  const ErrorCode gone = why_no_order(attachment);
  if (gone != ErrorCode::ok) {
    return fail(gone, std::string("pool ") + attachment.header().pool_name +
                          ": this process has no thread record yet, and zeropoold at " +
                          attachment.socket_path + ", which makes more, " +
                          (gone == ErrorCode::stopping ? "is stopping" : "has gone away") +
                          ": start it again, or get with fewer threads at once");
  }
  const std::int64_t left_ns = deadline_ns - monotonic_ns();
  if (left_ns <= 0) return no_record(attachment);
  const timespec pause{0, std::min(left_ns, kPauseNs)};
  ::nanosleep(&pause, nullptr);
  return 0;
}

}  // namespace zeropool::client
