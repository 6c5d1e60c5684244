#include "order.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <zeropool/lib/tracepoint.hpp>

#include "daemon_link.hpp"
#include "quota.hpp"
#include "scrub.hpp"
#include "size_text.hpp"

namespace zeropool::client {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kWaitSliceNs =
    100 * kMillisecond;  // between looks at whether the daemon lives
constexpr std::int64_t kMostWaitSliceNs = 1000 * kMillisecond;
// Between looks for a free cell: each look reads them all, so that thousands must not look all the time.
constexpr std::int64_t kFirstRetryNs = kMillisecond;
constexpr std::int64_t kMostRetryNs = 32 * kMillisecond;

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value,
                std::int64_t wait_ns) noexcept {
  timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  // Not FUTEX_PRIVATE: the waker is another process.
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &timeout, nullptr, 0);
}

std::string holders_text(const lib::ControlHeader& header) {
  std::string text;
  // A version that is odd or has changed: the daemon was writing; then say nothing.
  const std::uint32_t version = header.holders_version.load(std::memory_order_acquire);
  const std::uint32_t count =
      std::min(header.holder_count.load(std::memory_order_relaxed), lib::kTopHolders);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto& holder = header.holders[i];
    char name[lib::kClientNameBytes + 1] = {};
    for (std::size_t w = 0; w < 4; ++w) {
      const std::uint64_t part = holder.name[w].load(std::memory_order_relaxed);
      std::memcpy(name + w * 8, &part, 8);
    }
    for (char& c : name) {
      if (c != 0 && (c < 0x20 || c == 0x7f)) c = '?';
    }
    text += std::string(text.empty() ? "" : ", ") + name + " (pid " +
            std::to_string(holder.pid.load(std::memory_order_relaxed)) + ") " +
            size_text(holder.bytes.load(std::memory_order_relaxed));
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  if (version % 2 != 0 || header.holders_version.load(std::memory_order_relaxed) != version)
    return {};
  return text;
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Thousands that wait shall not keep a core busy by looking whether the daemon lives.
std::int64_t wait_slice_ns(const lib::ControlHeader& header) noexcept {
  const std::int64_t waiting = header.orders_waiting.load(std::memory_order_relaxed);
  return std::clamp(waiting * kMillisecond, kWaitSliceNs, kMostWaitSliceNs);
}

ErrorCode why_no_order(Attachment& attachment) noexcept {
  if (attachment.header().daemon_state.load(std::memory_order_relaxed) >=
      static_cast<std::uint32_t>(lib::DaemonState::kStopping)) {
    return ErrorCode::stopping;
  }
  return daemon_is_gone(attachment, monotonic_ns()) ? ErrorCode::no_daemon : ErrorCode::ok;
}

void ring_if_asleep(Attachment& attachment) noexcept {
  // Pairs with the daemon's fence between `sleeping = 1` and its last scan.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (attachment.header().sleeping.load(std::memory_order_relaxed) != 0) {
    attachment.descriptors.ring();
  }
}

int explain_refusal(Attachment& attachment, ErrorCode code) noexcept {
  const lib::ControlHeader& header = attachment.header();
  const std::string pool = std::string("pool ") + header.pool_name;
  switch (code) {
    case ErrorCode::budget_exhausted: {
      const std::uint64_t limit = header.limit_bytes.load(std::memory_order_relaxed);
      const std::uint64_t committed = header.committed_bytes.load(std::memory_order_relaxed);
      const std::string holders = holders_text(header);
      return fail(code,
                  pool + ": nothing free and nothing more to commit (" + size_text(committed) +
                      " committed, pool limit " + size_text(limit) + ", budget of all pools " +
                      size_text(header.budget_bytes.load(std::memory_order_relaxed)) + ")" +
                      (holders.empty() ? "" : "; largest holders: " + holders) +
                      ". Give buffers back, or raise budget or limit in zeropoold.yaml; "
                      "zeropoolctl doctor tells whether a node or its hugepages are what is spent");
    }
    case ErrorCode::timed_out:
      return fail(code,
                  pool + ": no buffer came within the time allowed; zeropoold was still at it");
    case ErrorCode::no_daemon:
      if (!attachment.descriptors.ours()) {
        return fail(code,
                    "this program has closed its connection to zeropoold at " +
                        attachment.socket_path +
                        " itself (closefrom?), and the pool's ring is empty: close what is not "
                        "zeropool's only, or open the pool after that; buffers that are held stay "
                        "valid");
      }
      return fail(
          code,
          "zeropoold at " + attachment.socket_path +
              " has gone away, and the pool's ring is empty: restart it; buffers that are held "
              "stay valid");
    case ErrorCode::stopping:
      return fail(code,
                  "zeropoold at " + attachment.socket_path +
                      " is stopping and grants nothing more; buffers that are held stay valid");
    case ErrorCode::too_many_orders:
      return fail(code, pool + ": all " + std::to_string(header.order_capacity) +
                            " order cells are in use, so many gets wait already: raise "
                            "wait.orders in zeropoold.yaml, or let fewer threads wait");
    case ErrorCode::too_large:
      return fail(code, pool + ": so much at once is more than the pool's limit of " +
                            size_text(header.limit_bytes.load(std::memory_order_relaxed)));
    case ErrorCode::quota_exceeded: return refuse_over_quota(attachment);
    case ErrorCode::cancelled:
      return fail(code, pool + ": the get was stopped while it waited, or its pool was closed");
    default:
      return fail(code, pool + ": zeropoold refused the order (" + lib::error_name(code) + ")");
  }
}

bool Order::take_free_cell(std::uint32_t first, std::uint32_t bound) noexcept {
  for (std::uint32_t i = 0; i < bound; ++i) {
    const std::uint32_t number = (first + i) % bound;
    lib::SharedOrderCell& cell = attachment_.view.order(number);
    lib::OrderWord found{cell.word.load(std::memory_order_relaxed)};
    if (found.state() != lib::OrderState::kFree) continue;
    const auto mine = lib::OrderWord::make(found.sequence() + 1, lib::OrderState::kWriting,
                                           attachment_.client_id, attachment_.epoch);
    if (!cell.word.compare_exchange_strong(found.word, mine.word, std::memory_order_acquire))
      continue;
    number_ = number;
    word_ = mine;
    return true;
  }
  return false;
}

int Order::take_cell(std::int64_t deadline_ns) noexcept {
  lib::ControlHeader& header = attachment_.header();
  const auto start = static_cast<std::uint32_t>(::syscall(SYS_gettid)) * 0x9e3779b1U;
  for (std::int64_t pause_ns = kFirstRetryNs;; pause_ns = std::min(pause_ns * 2, kMostRetryNs)) {
    const std::uint32_t published =
        std::min(header.orders_published.load(std::memory_order_acquire), header.order_capacity);
    if (published > 0 && take_free_cell(start % published, published)) return 0;
    header.orders_wanted.store(1, std::memory_order_relaxed);
    ring_if_asleep(attachment_);
    const std::int64_t now = monotonic_ns();
    if (now >= deadline_ns) return why_not(ErrorCode::too_many_orders);
    if (daemon_is_gone(attachment_, now)) return why_not(ErrorCode::no_daemon);
    timespec pause{0, std::min(pause_ns, deadline_ns - now)};
    ::nanosleep(&pause, nullptr);
  }
}

bool Order::post(const OrderWants& wants, std::uint32_t arena, std::uint32_t flags,
                 std::int64_t deadline_ns, std::int64_t posted_ns) noexcept {
  lib::SharedOrderCell& cell = attachment_.view.order(number_);
  std::uint32_t items = 0;
  for (std::uint32_t c = 0; c < attachment_.class_count; ++c) {
    if (wants.count[c] == 0) continue;
    cell.items[items++].store(lib::OrderItem::make(c, wants.count[c]).word,
                              std::memory_order_relaxed);
  }
  cell.item_count.store(items, std::memory_order_relaxed);
  cell.deadline_ns.store(static_cast<std::uint64_t>(deadline_ns), std::memory_order_relaxed);
  cell.posted_ns.store(static_cast<std::uint64_t>(posted_ns), std::memory_order_relaxed);
  cell.flags.store(flags, std::memory_order_relaxed);
  cell.arena.store(arena, std::memory_order_relaxed);
  cell.first_granted.store(0, std::memory_order_relaxed);
  cell.refusal.store(0, std::memory_order_relaxed);
  const lib::OrderWord posted = word_.with_state(lib::OrderState::kPosted);
  std::uint64_t expected = word_.word;
  if (!cell.word.compare_exchange_strong(expected, posted.word, std::memory_order_release))
    return false;
  word_ = posted;
  lib::tracepoint::order(attachment_.header().pool_name, number_, posted.word,
                         static_cast<std::uint64_t>(posted_ns),
                         static_cast<std::uint64_t>(deadline_ns));
  attachment_.view.order_hint_word(number_).fetch_or(std::uint64_t{1} << (number_ % 64),
                                                     std::memory_order_release);  // after Posted
  return true;
}

int Order::place(const OrderWants& wants, std::uint32_t arena, std::uint32_t flags,
                 std::int64_t deadline_ns) noexcept {
  if (const ErrorCode code = why_no_order(attachment_); code != ErrorCode::ok) return why_not(code);
  flags_ = flags;
  if (const int code = take_cell(deadline_ns); code != 0) return code;
  if (!post(wants, arena, flags, deadline_ns, monotonic_ns())) {
    return why_not(ErrorCode::no_daemon);  // the daemon freed it: it takes us for dead
  }
  ring_if_asleep(attachment_);
  return wait(deadline_ns);
}

int Order::wait(std::int64_t deadline_ns) noexcept {
  lib::SharedOrderCell& cell = attachment_.view.order(number_);
  for (;;) {
    const std::uint32_t wake = cell.wake.load(std::memory_order_acquire);
    const lib::OrderAnswer answer = this->answer();
    if (answer == lib::OrderAnswer::kGranted) return 0;
    const ErrorCode refusal = reason();
    if (answer != lib::OrderAnswer::kWaits) {
      if (answer == lib::OrderAnswer::kRefused) end();
      if (refusal == ErrorCode::ok && (flags_ & lib::kOrderRoom) != 0) return 0;
      return why_not(refusal == ErrorCode::ok ? ErrorCode::timed_out : refusal);
    }
    const std::int64_t now = monotonic_ns();
    const bool gone = daemon_is_gone(attachment_, now);
    if (now >= deadline_ns || gone) {
      if (!withdraw()) continue;  // answered at the last moment
      if (gone) return why_not(ErrorCode::no_daemon);
      ring_if_asleep(attachment_);  // gets may stand behind this order
      return why_not(refusal == ErrorCode::ok ? ErrorCode::timed_out : refusal);
    }
    futex_wait(cell.wake, wake, std::min(deadline_ns - now, wait_slice_ns(attachment_.header())));
  }
}

bool Order::next_granted(CacheOps& ops, std::uint32_t& link, std::uint32_t& ring,
                         std::uint32_t& cell) noexcept {
  const lib::OwnerWord grant =
      lib::OwnerWord::grant(attachment_.client_id, attachment_.epoch, number_, word_.sequence());
  if (link == 0) return false;
  const std::uint32_t number = link - 1;
  for (ring = 0; ring < attachment_.rings.size(); ++ring) {
    const RingSetup& setup = attachment_.rings[ring];
    cell = number - setup.first_cell;
    if (cell >= setup.view.cell_bound()) continue;
    lib::SharedMagazine& magazine = setup.view.cells[cell];
    const std::uint32_t next = magazine.count.link();
    std::uint64_t expected = grant.word;
    // COMMIT: the grant becomes this thread's.
    if (!magazine.owner.compare_exchange_strong(expected, ops.me().word, std::memory_order_acquire))
      return false;
    magazine.count.set_link(0);
    clear_foreign(attachment_, ring, cell);
    link = next;
    return true;
  }
  return false;
}

void Order::end() noexcept { lib::end_order(attachment_.view.order(number_), word_); }

}  // namespace zeropool::client
