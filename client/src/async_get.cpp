// Gets that do not block: at hand or suspended, ended by zp_poll(), zp_stop() or zp_cancel(). The desk: async_desk.hpp.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <zeropool.h>

#include "async_desk.hpp"
#include "daemon_link.hpp"
#include "get.hpp"
#include "last_error.hpp"
#include "scrub.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

constexpr std::int64_t kRecordWaitNs = 100'000'000;  // an event loop's time

int no_pool() noexcept { return fail(ErrorCode::invalid_argument, "the pool is not open"); }

// `code` after a last look, as a get that blocks has it. A batch has none.
int fail_to_order(Attachment& attachment, AsyncOp& op, ErrorCode code) noexcept {
  {
    Access access(attachment, Patience::kNone);
    if (access.code() != 0) return access.code();
    const std::uint32_t ring = op.arena * attachment.class_count + op.lane;
    Taken taken;
    if (op.batch != 0) {
      count_failure(access, ring, code);
    } else if (take_though_refused(attachment, access, op.lane, {op.arena, op.only != 0},
                                   static_cast<int>(code), taken)) {
      *op.buffers = make_buffer(attachment, taken.ring, taken.slot, taken.mark, op.one_size);
    }
  }
  if (op.batch == 0 && op.buffers->data != nullptr) {
    hand_out(attachment, *op.buffers);
    return 0;
  }
  return explain_refusal(attachment, code);
}

// op: bytes, count, buffers and batch are set, and the attachment is attached.
AtHand look_at_hand(Attachment& attachment, AsyncOp& op, int& code) noexcept {
  if (op.batch != 0) {
    OrderWants wants;
    code = count_wants(attachment, batch_of(op), wants);
    if (code != 0) return AtHand::kFailed;
    std::uint32_t missing_ring = 0;
    const AtHand found = fill_at_hand(attachment, batch_of(op), missing_ring, code);
    op.arena = missing_ring / attachment.class_count;
    op.lane = missing_ring % attachment.class_count;
    op.only = attachment.placement == lib::Placement::kLocalOnly;
    return found;
  }
  if (!attachment.lookup.serves(op.one_size)) {
    code = refuse_size(attachment, op.one_size);
    return AtHand::kFailed;
  }
  op.lane = attachment.lookup.class_of(op.one_size);
  Wish wish;
  Taken taken;
  const AtHand found =
      take_at_hand(attachment, op.lane, kAnyNode, /*never_waits=*/false, wish, taken, code);
  op.arena = wish.arena;
  op.only = wish.only;
  if (found == AtHand::kTaken) {
    *op.buffers = make_buffer(attachment, taken.ring, taken.slot, taken.mark, op.one_size);
  }
  return found;
}

int get_async(Attachment& attachment, AsyncOp& op, std::int64_t timeout_ns) noexcept {
  int code = ensure_attached(attachment);
  if (code != 0) return code;
  AtHand found = look_at_hand(attachment, op, code);
  if (found == AtHand::kNoCache) {
    // As an attach, of which this is the end: without a record there is no node to order from.
    code = await_cache(attachment, monotonic_ns() + kRecordWaitNs);
    if (code != 0) return code;
    found = look_at_hand(attachment, op, code);
  }
  switch (found) {
    case AtHand::kTaken: hand_out_all(attachment, op.buffers, op.count); return 0;
    case AtHand::kFailed:
    case AtHand::kNoCache: return code;
    case AtHand::kNothing: break;
  }
  if (const ErrorCode refused = why_no_order(attachment); refused != ErrorCode::ok) {
    return fail_to_order(attachment, op, refused);
  }
  op.attachment = &attachment;
  op.deadline_ns = deadline_of(attachment, timeout_ns < 0 ? detail::kWaitAsPool : timeout_ns);
  {
    Suspended suspended(attachment);
    if (!suspended.open()) {
      return fail(ErrorCode::system, "no memory to keep a get that waits");
    }
    const std::int64_t now = monotonic_ns();
    op.since_ns = now;
    if (suspended.add(op, now)) return ZP_PENDING;
  }
  return explain_refusal(attachment, ErrorCode::cancelled);
}

// Filled with what the caller says; null, and the error said: it cannot be.
AsyncOp* set_up(zp_async_get* get, zp_buffer* buffers, std::size_t count) noexcept {
  if (get == nullptr || get->done == nullptr) {
    fail(ErrorCode::invalid_argument, "an async get needs a zp_async_get with `done`");
    return nullptr;
  }
  AsyncOp& op = op_of(get);
  if (op.waits()) {
    fail(ErrorCode::invalid_argument,
         "this zp_async_get waits already, or was not zeroed before its first use");
    return nullptr;
  }
  op.buffers = buffers;
  op.count = count;
  op.code = 0;
  return &op;
}

// What the daemon and the clock have brought about, as far as it is known. Returns how many can be delivered.
std::size_t collect(Attachment& attachment) noexcept {
  bool everywhere = false;
  bool gone = false;
  {
    Suspended suspended(attachment);
    const Descriptors::Events events = suspended.take_events();
    const std::int64_t now = monotonic_ns();
    everywhere = suspended.look_due(now);
    // Woken and told nothing of whom: a daemon of before (or bits that somebody else has cleared).
    if (!suspended.look(false, now) && events.woken) suspended.look(true, now);
  }
  // It may connect again, so nobody is kept waiting meanwhile.
  if (everywhere) gone = daemon_is_gone(attachment, monotonic_ns());
  Suspended suspended(attachment);
  const std::int64_t now = monotonic_ns();
  if (everywhere) suspended.look(true, now);
  if (gone) suspended.end_all(ErrorCode::no_daemon);
  suspended.expire(now);
  suspended.post(now);
  // Another poll may have the rest, and the next deadline, while `done` runs here.
  suspended.set_timer(std::min<std::size_t>(suspended.ready(), 1));
  return suspended.ready();
}

// In the child that a `done` has forked, what was held was its parent's (attachment.cpp, drop_inherited()).
void give_up_holds(Attachment& attachment, std::uint32_t client, std::uint32_t holds) noexcept {
  if (attachment.guard->client_id.load(std::memory_order_acquire) != client) return;
  let_go(attachment, holds);
}

std::size_t poll(Attachment& attachment, std::size_t max, std::uint32_t& holds) noexcept {
  std::size_t left = std::min(max, collect(attachment));
  std::size_t done = 0;
  for (; left > 0; --left) {
    Ended ended;
    {
      Suspended suspended(attachment);
      ended = suspended.deliver(monotonic_ns());
    }
    if (ended.get == nullptr) break;
    ++holds;
    ++done;
    // The op is its caller's now, and may go with the callback.
    const auto call = ended.get->done;
    void* const context = ended.get->context;
    if (ended.code == 0) {
      hand_out_all(attachment, ended.batch.buffers, ended.batch.count);
    } else {
      explain_refusal(attachment, static_cast<ErrorCode>(ended.code));
    }
    call(context, ended.code, ended.batch.buffers);
  }
  {
    Suspended suspended(attachment);
    suspended.post(monotonic_ns());  // into the cells that have become free
    suspended.set_timer();
  }
  return done;
}

}  // namespace
}  // namespace zeropool::client

extern "C" {

using namespace zeropool::client;

int zp_get_async(zp_pool* pool, size_t bytes, int64_t timeout_ns, zp_async_get* get,
                 zp_buffer* buffer) {
  if (buffer == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_get_async needs a place for the buffer");
  *buffer = zp_buffer{};
  if (pool == nullptr) return no_pool();
  Attachment& attachment = attachment_of(pool);
  if (take_hit(attachment, bytes, buffer)) return 0;
  AsyncOp* const op = set_up(get, buffer, 1);
  if (op == nullptr) return ZP_INVALID_ARGUMENT;
  op->one_size = bytes;
  op->bytes = &op->one_size;
  op->batch = 0;
  return get_async(attachment, *op, timeout_ns);
}

int zp_get_batch_async(zp_pool* pool, const size_t* bytes, size_t count, int64_t timeout_ns,
                       zp_async_get* get, zp_buffer* buffers) {
  if (pool == nullptr) return no_pool();
  if (count > 0 && (bytes == nullptr || buffers == nullptr)) {
    return fail(ErrorCode::invalid_argument,
                "zp_get_batch_async needs sizes and places for the buffers");
  }
  for (size_t i = 0; i < count; ++i) buffers[i] = zp_buffer{};
  AsyncOp* const op = set_up(get, buffers, count);
  if (op == nullptr) return ZP_INVALID_ARGUMENT;
  op->bytes = bytes;
  op->batch = 1;
  return get_async(attachment_of(pool), *op, timeout_ns);
}

int zp_cancel(zp_async_get* get) {
  if (get == nullptr || !op_of(get).waits()) return ZP_NOT_PENDING;
  AsyncOp& op = op_of(get);
  Attachment& attachment = *op.attachment;
  {
    Suspended suspended(attachment);
    if (!op.waits()) return ZP_NOT_PENDING;  // a poll was faster
    if (!suspended.has(op)) return ZP_WRONG_PROCESS;
    suspended.cancel(op);
  }
  let_go(attachment, 1);
  return 0;
}

int zp_stop(zp_async_get* get) {
  if (get == nullptr) return ZP_NOT_PENDING;
  AsyncOp& op = op_of(get);
  while (!op.waits()) {
    if (op.state() == AsyncState::kStopAsked ||
        op.change_state(AsyncState::kIdle, AsyncState::kStopAsked)) {
      return ZP_NOT_PENDING;
    }
  }
  Suspended suspended(*op.attachment);
  if (!op.waits()) return ZP_NOT_PENDING;
  if (!suspended.has(op)) return ZP_WRONG_PROCESS;
  suspended.stop(op);
  return 0;
}

size_t zp_poll(zp_pool* pool, size_t max) {
  if (pool == nullptr || max == 0) return 0;
  Attachment& attachment = attachment_of(pool);
  std::uint32_t client = 0;
  {
    // Under the lock: an attachment that ends does so under it, too, and finds the hold (D5).
    Locked lock(attachment.guard->async_lock);
    client = attachment.guard->client_id.load(std::memory_order_acquire);
    if (client == 0) return 0;  // ended, or a forked child: what waits is its parent's
    attachment.async_holds.fetch_add(1, std::memory_order_relaxed);
  }
  std::uint32_t holds = 1;
  const std::size_t done = poll(attachment, max, holds);
  give_up_holds(attachment, client, holds);
  return done;
}

int zp_event_fd(zp_pool* pool) {
  if (pool == nullptr) {
    no_pool();
    return -1;
  }
  Attachment& attachment = attachment_of(pool);
  if (ensure_attached(attachment) != 0) return -1;
  Suspended suspended(attachment);
  const int fd = suspended.open_events();
  if (fd < 0) {
    const int error = errno;
    fail(ErrorCode::system,
         error == EBADF
             ? std::string(
                   "this program has closed its connection to zeropoold itself "
                   "(closefrom?), and its event descriptor with it: open the pool after that")
             : std::string("no event descriptor: ") + std::strerror(error) +
                   "; is the limit of open files (ulimit -n) reached?");
  }
  return fd;
}

}  // extern "C"
