#include "async_desk.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>

#include <zeropool/lib/segment.hpp>

#include "daemon_link.hpp"
#include "order.hpp"

namespace zeropool::client {
namespace {

constexpr std::int64_t kFirstRetryNs = 1'000'000;
constexpr std::int64_t kMostRetryNs = 32'000'000;
constexpr std::int64_t kAtOnce = 1;  // long past; 0 would switch the timer off

// A child counts on from its parent: no op of the one names a desk of the other.
std::atomic<std::uint64_t> last_serial{0};

// What cells[n] is where an op has left a grant that nobody could give back yet.
AsyncOp* left_behind() noexcept {
  static AsyncOp nobody{};
  return &nobody;
}

AsyncDesk* desk_of(Attachment& attachment) noexcept {
  auto* desk = reinterpret_cast<AsyncDesk*>(attachment.async_memory.data());
  return desk != nullptr && desk->serial != 0 ? desk : nullptr;
}

}  // namespace

Suspended::Suspended(Attachment& attachment) noexcept
    : attachment_(attachment), lock_(attachment.guard->async_lock), desk_(desk_of(attachment)) {}

bool Suspended::open() noexcept {
  if (desk_ != nullptr) return true;
  // NOLINTNEXTLINE(bugprone-sizeof-expression): the table's entries are pointers
  const std::size_t bytes = sizeof(AsyncDesk) + sizeof(AsyncOp*) * attachment_.order_capacity;
  std::string why;
  attachment_.async_memory = lib::map_wiped_on_fork((bytes + 4095) / 4096 * 4096, why);
  if (!attachment_.async_memory) return false;
  desk_ = reinterpret_cast<AsyncDesk*>(attachment_.async_memory.data());  // all zero
  desk_->cells = reinterpret_cast<AsyncOp**>(desk_ + 1);
  desk_->serial = last_serial.fetch_add(1, std::memory_order_relaxed) + 1;
  return true;
}

bool Suspended::add(AsyncOp& op, std::int64_t now_ns) noexcept {
  op.serial = desk_->serial;
  if (!op.change_state(AsyncState::kIdle, AsyncState::kWaiting)) {
    op.change_state(AsyncState::kStopAsked, AsyncState::kIdle);
    return false;
  }
  if (desk_->queue.empty()) {
    desk_->look_at_ns = now_ns + wait_slice_ns(attachment_.header());
    // Hints about those before, that nobody polled for: they would keep the daemon from waking us.
    look(false, now_ns);
  }
  desk_->queue.add(op);
  attachment_.async_holds.fetch_add(1, std::memory_order_relaxed);
  // While no cell is to be had, not each of a hundred thousand looks at them all.
  if (desk_->retry_at_ns <= now_ns) post(now_ns);
  set_timer();
  return true;
}

// D4
std::uint32_t Suspended::cell_bound() const noexcept {
  const lib::ControlHeader& header = attachment_.header();
  const std::uint32_t capacity = attachment_.order_capacity;
  const std::uint32_t for_others = capacity > 1 ? std::max(1U, capacity / 4) : 0;
  return std::min(header.orders_published.load(std::memory_order_acquire), capacity - for_others);
}

bool Suspended::look(bool everywhere, std::int64_t now_ns) noexcept {
  if (desk_ == nullptr) return false;
  bool hinted = false;
  const std::uint32_t capacity = attachment_.order_capacity;
  const std::uint32_t per_bit = lib::cells_per_answer_bit(capacity);
  lib::SharedClientRecord& record = attachment_.view.client(attachment_.client_number);
  for (std::uint32_t w = 0; w < lib::kAnswerBits / 64; ++w) {
    // H1: after the socket was read.
    std::uint64_t bits = record.answered[w].exchange(0, std::memory_order_acq_rel);
    hinted = hinted || bits != 0;
    if (everywhere) bits = ~std::uint64_t{0};
    for (; bits != 0; bits &= bits - 1) {
      const std::uint64_t bit = w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      const std::uint64_t first = bit * per_bit;
      for (std::uint64_t cell = first; cell < std::min<std::uint64_t>(first + per_bit, capacity);
           ++cell) {
        look_at_cell(static_cast<std::uint32_t>(cell));
      }
    }
  }
  if (everywhere) desk_->look_at_ns = now_ns + wait_slice_ns(attachment_.header());
  return hinted;
}

void Suspended::look_at_cell(std::uint32_t cell) noexcept {
  AsyncOp* op = desk_->cells[cell];
  if (op == nullptr) return;
  if (op == left_behind()) {
    AsyncOp orphan{};
    orphan.cell = cell;
    orphan.order_word = attachment_.view.order(cell).word.load(std::memory_order_acquire);
    const lib::OrderWord word{orphan.order_word};
    orphan.order_word = word.with_state(lib::OrderState::kPosted).word;
    if (word.client() != attachment_.client_id || give_back_grant(orphan)) {
      desk_->cells[cell] = nullptr;
      --desk_->left_behind;
    }
    return;
  }
  if (op->state() == AsyncState::kPosted && order_of(*op).answer() != lib::OrderAnswer::kWaits) {
    desk_->queue.make_ready(*op, AsyncState::kAnswered);
  }
}

void Suspended::end(AsyncOp& op, ErrorCode code) noexcept {
  op.code = static_cast<std::int32_t>(code);
  desk_->queue.make_ready(op, AsyncState::kEnded);
}

bool Suspended::withdraw(AsyncOp& op) noexcept {
  if (!order_of(op).withdraw()) {
    desk_->queue.make_ready(op, AsyncState::kAnswered);
    return false;
  }
  desk_->cells[op.cell] = nullptr;
  return true;
}

// What the daemon has said of the order, else of the last ones before it that want the same.
ErrorCode Suspended::why_expired(const AsyncOp& op) noexcept {
  const AsyncOp* posted =
      op.state() == AsyncState::kPosted ? &op : desk_->queue.first_posted(op.lane);
  ErrorCode& last = desk_->why_nothing[op.lane];
  if (posted != nullptr && order_of(*posted).reason() == ErrorCode::budget_exhausted) {
    last = ErrorCode::budget_exhausted;
  }
  if (last != ErrorCode::ok) return last;
  // A pause before the next look for a cell: there was none.
  const bool no_cell = posted == nullptr && desk_->retry_pause_ns != 0;
  return no_cell ? ErrorCode::too_many_orders : ErrorCode::timed_out;
}

void Suspended::note_answer(const AsyncOp& op, int code) noexcept {
  const auto reason = static_cast<ErrorCode>(code);
  if (reason == ErrorCode::ok || reason == ErrorCode::budget_exhausted) {
    desk_->why_nothing[op.lane] = reason;
  }
}

void Suspended::expire(std::int64_t now_ns) noexcept {
  if (desk_ == nullptr) return;
  bool withdrawn = false;
  for (AsyncOp* op = desk_->queue.next_deadline(); op != nullptr && op->deadline_ns <= now_ns;
       op = desk_->queue.next_deadline()) {
    const ErrorCode code = why_expired(*op);
    if (op->state() == AsyncState::kPosted) {
      if (!withdraw(*op)) continue;  // answered at the last moment
      withdrawn = true;
    }
    end(*op, code);
  }
  if (withdrawn) ring_if_asleep(attachment_);  // gets may stand behind those orders
}

bool Suspended::post_one(AsyncOp& op) noexcept {
  const std::uint32_t bound = cell_bound();
  Order order(attachment_);
  if (bound == 0 || !order.take_free_cell(desk_->cursor % bound, bound)) return false;
  desk_->cursor = order.number() + 1;
  OrderWants wants;
  if (count_wants(attachment_, batch_of(op), wants) != 0) {  // the caller's sizes have changed
    order.end();
    end(op, ErrorCode::invalid_argument);
    return true;
  }
  const std::uint32_t flags = lib::kOrderAsync | (op.only != 0 ? lib::kOrderOneNode : 0);
  if (!order.post(wants, op.arena, flags, op.deadline_ns, op.since_ns)) {
    end(op, ErrorCode::no_daemon);  // the daemon freed it: it takes us for dead
    return true;
  }
  op.cell = order.number();
  op.order_word = order.word().word;
  desk_->cells[op.cell] = &op;  // D1
  desk_->queue.post(op);
  return true;
}

void Suspended::post(std::int64_t now_ns) noexcept {
  if (desk_ == nullptr) return;
  if (desk_->queue.waiting() == 0) {
    desk_->retry_at_ns = desk_->retry_pause_ns = 0;  // or the timer would go off for it for ever
    return;
  }
  lib::ControlHeader& header = attachment_.header();
  if (header.daemon_state.load(std::memory_order_relaxed) >=
      static_cast<std::uint32_t>(lib::DaemonState::kStopping)) {
    end_all(ErrorCode::stopping);
    return;
  }
  const std::size_t most = std::max<std::size_t>(1, attachment_.order_capacity / 2);  // D4
  bool posted = false;
  bool missing = false;
  while (AsyncOp* op = desk_->queue.next_to_post(most)) {
    missing = !post_one(*op);
    if (missing) break;
    posted = true;
  }
  if (missing) {
    header.orders_wanted.store(1, std::memory_order_relaxed);
    desk_->retry_pause_ns = posted || desk_->retry_pause_ns == 0
                                ? kFirstRetryNs
                                : std::min(desk_->retry_pause_ns * 2, kMostRetryNs);
    desk_->retry_at_ns = now_ns + desk_->retry_pause_ns;
  } else {
    desk_->retry_at_ns = desk_->retry_pause_ns = 0;
  }
  if (posted || missing) ring_if_asleep(attachment_);
}

void Suspended::end_all(ErrorCode code) noexcept {
  if (desk_ == nullptr) return;
  while (AsyncOp* op = desk_->queue.next_deadline()) {
    if (op->state() == AsyncState::kPosted && !withdraw(*op)) continue;
    end(*op, code);
  }
}

void Suspended::leave(AsyncOp& op) noexcept {
  desk_->queue.remove(op);
  op.set_state(AsyncState::kIdle);
}

Ended Suspended::deliver(std::int64_t now_ns) noexcept {
  while (AsyncOp* op = desk_ == nullptr ? nullptr : desk_->queue.first_ready()) {
    OrderWants wants;
    // Before Access, as it may need one of its own: the caller's sizes may have changed.
    if (op->state() == AsyncState::kAnswered &&
        count_wants(attachment_, batch_of(*op), wants) != 0) {
      give_back_or_leave(*op);
      end(*op, ErrorCode::invalid_argument);  // to the end of the list
      continue;
    }
    Access access(attachment_, Patience::kNone);
    desk_->deliver_at_ns = access.code() != 0 ? now_ns + kMostRetryNs : 0;
    if (access.code() != 0) return {};  // no thread record now: soon again
    int code = op->code;
    const bool answered = op->state() == AsyncState::kAnswered;
    if (answered) {
      Order order = order_of(*op);
      const lib::OrderAnswer answer = order.answer();
      const ErrorCode reason = order.reason();
      desk_->cells[op->cell] = nullptr;
      code = static_cast<int>(reason == ErrorCode::ok ? ErrorCode::timed_out : reason);
      if (answer == lib::OrderAnswer::kGranted) {
        if (accept_batch(attachment_, access, order, wants, op->arena, batch_of(*op))) {  // D3
          code = 0;
        } else if (now_ns < op->deadline_ns) {  // damaged entries: it asks again
          desk_->queue.put_back(*op);
          continue;
        }
      } else if (answer == lib::OrderAnswer::kRefused) {
        order.end();
      }
      note_answer(*op, code);
    }
    if (code != 0 && code != static_cast<int>(ErrorCode::cancelled)) {
      const std::uint32_t ring = op->arena * attachment_.class_count + op->lane;
      Taken taken;
      if (op->batch != 0) {
        count_failure(access, ring, static_cast<ErrorCode>(code));
      } else if (take_though_refused(attachment_, access, op->lane, {op->arena, op->only != 0},
                                     code, taken)) {
        *op->buffers = make_buffer(attachment_, taken.ring, taken.slot, taken.mark, op->one_size);
        code = 0;
      }
    }
    const Ended ended{get_of(*op), code, batch_of(*op)};
    leave(*op);
    return ended;
  }
  return {};
}

bool Suspended::give_back_grant(AsyncOp& op) noexcept {
  Order order = order_of(op);
  if (order.answer() == lib::OrderAnswer::kRefused) order.end();
  if (order.answer() != lib::OrderAnswer::kGranted) return true;
  Access access(attachment_, Patience::kNone);
  if (access.code() != 0) return false;
  order.accept(access.ops(), OrderWants{}, [](std::uint32_t, std::uint32_t, lib::Mark) {});
  // It lies in this thread's caches now, where it may not stay while others wait.
  for (std::uint32_t r = 0; r < attachment_.rings.size(); ++r) access.ops().give_way_if_asked(r);
  return true;
}

void Suspended::give_back_or_leave(AsyncOp& op) noexcept {
  const bool given_back = give_back_grant(op);
  desk_->cells[op.cell] = given_back ? nullptr : left_behind();
  if (!given_back) ++desk_->left_behind;
}

void Suspended::cancel(AsyncOp& op) noexcept {
  if (op.state() == AsyncState::kPosted && withdraw(op)) ring_if_asleep(attachment_);
  if (op.state() == AsyncState::kAnswered) give_back_or_leave(op);
  leave(op);
  // Those behind it are posted by the next poll: who cancels thousands would post them all in vain.
  if (desk_->queue.waiting() > 0 && desk_->retry_at_ns == 0) desk_->retry_at_ns = 1;
  set_timer();
}

void Suspended::stop(AsyncOp& op) noexcept {
  const AsyncState state = op.state();
  if (state == AsyncState::kWaiting) end(op, ErrorCode::cancelled);
  if (state == AsyncState::kPosted && withdraw(op)) {
    end(op, ErrorCode::cancelled);
    ring_if_asleep(attachment_);
  }
  set_timer();
}

void Suspended::take_back_all() noexcept {
  if (desk_ == nullptr) return;
  end_all(ErrorCode::cancelled);
  std::size_t left = desk_->queue.ready();
  for (AsyncOp* op = desk_->queue.first_ready(); op != nullptr && left > 0; --left) {
    AsyncOp* next = op->next;
    if (op->state() == AsyncState::kAnswered) {
      give_back_or_leave(*op);
      end(*op, ErrorCode::cancelled);  // to the end of the list
    }
    op = next;
  }
  ring_if_asleep(attachment_);
  set_timer();
}

void Suspended::set_timer(std::size_t being_delivered) noexcept {
  if (desk_ == nullptr || attachment_.descriptors.events() < 0) return;
  if (desk_->queue.empty() && desk_->left_behind == 0) return;
  std::int64_t at = desk_->look_at_ns;
  if (const AsyncOp* first = desk_->queue.next_deadline()) at = std::min(at, first->deadline_ns);
  if (desk_->retry_at_ns != 0) at = std::min(at, desk_->retry_at_ns);
  if (desk_->queue.ready() > being_delivered) at = std::min(at, desk_->deliver_at_ns);
  at = std::max(at, kAtOnce);
  // Earlier than needed is no matter, but that it goes off at once for what is ready no more.
  const std::int64_t set = desk_->timer_at_ns;
  if (set == at || (set != 0 && set < at && set != kAtOnce)) return;
  desk_->timer_at_ns = at;
  attachment_.descriptors.set_timer(at);
}

int Suspended::open_events() noexcept {
  const int fd = attachment_.descriptors.open_events();
  if (fd >= 0) set_timer();
  return fd;
}

Descriptors::Events Suspended::take_events() noexcept {
  if (attachment_.descriptors.events() < 0) return {};
  const Descriptors::Events events = attachment_.descriptors.take_events();
  if (events.timer && desk_ != nullptr) desk_->timer_at_ns = 0;
  return events;
}

void let_go(Attachment& attachment, std::uint32_t holds) noexcept {
  attachment.async_holds.fetch_sub(holds, std::memory_order_acq_rel);
  if (attachment.closing.load(std::memory_order_relaxed)) end_if_unused(attachment);
}

void withdraw_async_gets(Attachment& attachment) noexcept {
  if (!attachment.attached() || attachment.async_holds.load(std::memory_order_acquire) == 0) return;
  Suspended suspended(attachment);
  suspended.take_back_all();
}

}  // namespace zeropool::client
