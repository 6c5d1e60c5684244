// Gets that the loaded magazine did not serve: the thread's other magazines, the ring, an order, and other nodes'
// rings, in the order that placement.hpp says.

#include "get.hpp"

#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/tracepoint.hpp>

#include "access.hpp"
#include "order.hpp"
#include "quota.hpp"
#include "scrub.hpp"
#include "size_text.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

}  // namespace

std::uint32_t home_ring(const Attachment& attachment, const ClientCache& cache,
                        std::uint32_t cls) noexcept {
  return cache.arena * attachment.class_count + cls;
}

void choose_home(Access& access) noexcept {
  access.ops().follow_thread();
  access.ops().next_home();
}

bool take_there(Attachment& attachment, Access& access, std::uint32_t cls, std::uint32_t arena,
                Taken& taken) noexcept {
  const std::uint32_t ring = arena * attachment.class_count + cls;
  CacheOps& ops = access.ops();
  Source source = Source::kOwn;
  if (!ops.take(ring, taken.slot, taken.mark, source)) return false;
  taken.ring = ring;
  return true;
}

bool take_elsewhere(Attachment& attachment, Access& access, std::uint32_t cls, std::uint32_t arena,
                    Taken& taken) noexcept {
  const auto arena_count = static_cast<std::uint32_t>(attachment.arenas.size());
  for (std::uint32_t i = 0; i < arena_count; ++i) {
    const std::uint32_t other = attachment.arenas[arena].order[i];
    if (other >= arena_count || other == arena) continue;
    if (!take_there(attachment, access, cls, other, taken)) continue;
    count_up(access.ops().record(taken.ring).remote_gets);
    return true;
  }
  return false;
}

void count_granted(const Attachment& attachment, Access& access, std::uint32_t ring,
                   std::uint32_t wished_arena) noexcept {
  if (attachment.rings[ring].arena != wished_arena) {
    count_up(access.ops().record(ring).remote_gets);
  }
}

void count_failure(Access& access, std::uint32_t ring, ErrorCode code) noexcept {
  lib::FailureReason reason = lib::FailureReason::kOther;
  switch (code) {
    case ErrorCode::budget_exhausted: reason = lib::FailureReason::kBudgetExhausted; break;
    case ErrorCode::quota_exceeded: reason = lib::FailureReason::kQuotaExceeded; break;
    case ErrorCode::timed_out: reason = lib::FailureReason::kTimedOut; break;
    case ErrorCode::would_wait: reason = lib::FailureReason::kWouldWait; break;
    case ErrorCode::no_daemon:
    case ErrorCode::stopping: reason = lib::FailureReason::kNoDaemon; break;
    case ErrorCode::too_many_orders: reason = lib::FailureReason::kTooManyOrders; break;
    case ErrorCode::too_large:
    case ErrorCode::invalid_size: reason = lib::FailureReason::kInvalidSize; break;
    default: break;
  }
  count_up(access.ops().record(ring).failures[static_cast<std::uint32_t>(reason)]);
  lib::tracepoint::failure(access.ops().pool_name(), access.ops().class_bytes(ring),
                           static_cast<std::uint32_t>(code));
}

int refuse_size(Attachment& attachment, std::size_t bytes) noexcept {
  {
    Access access(attachment, Patience::kNone);
    if (access.code() == 0)
      count_failure(access, 0, bytes == 0 ? ErrorCode::invalid_size : ErrorCode::too_large);
  }
  if (bytes == 0)
    return fail(ErrorCode::invalid_size, "a buffer has at least 1 byte, 0 were asked for");
  return fail(ErrorCode::too_large, "pool " + attachment.wish.pool_name + ": " + size_text(bytes) +
                                        " is more than its largest class, " +
                                        size_text(attachment.lookup.largest_bytes) +
                                        ": add a class to the pool in zeropoold.yaml");
}

int would_wait(Attachment& attachment) noexcept {
  return fail(ErrorCode::would_wait,
              "pool " + attachment.wish.pool_name + ": no buffer at hand without waiting");
}

std::int64_t deadline_of(Attachment& attachment, std::int64_t timeout_ns) noexcept {
  if (timeout_ns == detail::kWaitAsPool) {
    timeout_ns = static_cast<std::int64_t>(
        attachment.header().wait_timeout_ns.load(std::memory_order_relaxed));
  }
  const std::int64_t now = monotonic_ns();
  return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

AtHand take_at_hand(Attachment& attachment, std::uint32_t cls, std::uint32_t node, bool never_waits,
                    Wish& wish, Taken& taken, int& code) noexcept {
  ErrorCode refused = ErrorCode::ok;
  {
    Access access(attachment, Patience::kNone);
    code = access.code();
    if (access.lacks_record()) {
      if (never_waits) code = would_wait(attachment);
      return never_waits ? AtHand::kFailed : AtHand::kNoCache;
    }
    if (code != 0) return AtHand::kFailed;
    choose_home(access);
    code = wish_of(attachment, access.cache(), node, wish);
    if (code != 0) return AtHand::kFailed;
    if (take_there(attachment, access, cls, wish.arena, taken)) return AtHand::kTaken;
    bool over_quota = access.ops().over_quota();
    if (over_quota) {  // this thread's caches of other classes first
      access.ops().flush_all();
      if (take_there(attachment, access, cls, wish.arena, taken)) return AtHand::kTaken;
      over_quota = access.ops().over_quota();
    }
    const std::uint32_t ring = wish.arena * attachment.class_count + cls;
    if (!wish.only && attachment.arenas.size() > 1 &&
        (never_waits || nothing_to_come(attachment, ring, monotonic_ns())) &&
        take_elsewhere(attachment, access, cls, wish.arena, taken)) {
      return AtHand::kTaken;
    }
    if (!never_waits) return AtHand::kNothing;
    refused = over_quota ? ErrorCode::quota_exceeded : ErrorCode::would_wait;
    count_failure(access, ring, refused);
  }
  code =
      refused == ErrorCode::quota_exceeded ? refuse_over_quota(attachment) : would_wait(attachment);
  return AtHand::kFailed;
}

bool take_though_refused(Attachment& attachment, Access& access, std::uint32_t cls,
                         const Wish& wish, int code, Taken& taken) noexcept {
  // Put meanwhile, or on a node that was not looked at because zeropoold was about to answer.
  if (take_there(attachment, access, cls, wish.arena, taken)) return true;
  if (!wish.only && take_elsewhere(attachment, access, cls, wish.arena, taken)) return true;
  count_failure(access, wish.arena * attachment.class_count + cls, static_cast<ErrorCode>(code));
  return false;
}

int get_one(Attachment& attachment, std::size_t bytes, std::int64_t timeout_ns, std::uint32_t node,
            Taken& taken) noexcept {
  // The lookup is there once attached.
  if (const int code = ensure_attached(attachment); code != 0) return code;
  if (!attachment.lookup.serves(bytes)) return refuse_size(attachment, bytes);
  const std::uint32_t cls = attachment.lookup.class_of(bytes);
  std::int64_t deadline = 0;  // not looked up: most gets need none
  for (;;) {
    OrderWants wants;
    wants.count[cls] = 1;
    Wish wish;
    int code = 0;
    const AtHand found =
        take_at_hand(attachment, cls, node, timeout_ns == detail::kNeverWait, wish, taken, code);
    switch (found) {
      case AtHand::kTaken: return 0;
      case AtHand::kFailed: return code;
      case AtHand::kNothing:
      case AtHand::kNoCache: break;
    }
    if (deadline == 0) deadline = deadline_of(attachment, timeout_ns);
    if (found == AtHand::kNoCache) {
      code = await_cache(attachment, deadline);
      if (code != 0) return code;
      continue;
    }
    Order order(attachment);
    code = order.place(wants, wish.arena, wish.only ? lib::kOrderOneNode : 0, deadline);
    Access access(attachment);
    if (access.code() != 0) return access.code();
    if (code != 0) {
      return take_though_refused(attachment, access, cls, wish, code, taken) ? 0 : code;
    }
    bool got = false;
    order.accept(access.ops(), wants, [&](std::uint32_t ring, std::uint32_t slot, lib::Mark mark) {
      taken = Taken{ring, slot, mark};
      got = true;
      count_granted(attachment, access, ring, wish.arena);
    });
    if (got) return 0;
    // Every entry granted was damaged and dropped: ask again.
  }
}

}  // namespace zeropool::client

extern "C" {

zp_v1_slot zp_v1_get_slow(zp_pool* pool, std::size_t bytes, std::int64_t timeout_ns,
                          std::uint32_t node, std::uint32_t) noexcept {
  using namespace zeropool::client;
  if (pool == nullptr) {
    return {0,
            static_cast<std::uint64_t>(fail(ErrorCode::invalid_argument, "the pool is not open"))};
  }
  Attachment& attachment = attachment_of(pool);
  Taken taken;
  const int code = get_one(attachment, bytes, timeout_ns, node, taken);
  if (code != 0) return {0, static_cast<std::uint64_t>(code)};
  const std::uint64_t word =
      zeropool::v1::detail::make_buffer_word(taken.mark, taken.ring, attachment.incarnation);
  hand_out(attachment, zp_buffer{zp_v1_address(pool, word, taken.slot), pool, word, taken.slot,
                                 static_cast<std::uint32_t>(bytes)});
  return {word, taken.slot};
}

void* zp_v1_address(zp_pool* pool, std::uint64_t word, std::uint32_t slot) noexcept {
  using namespace zeropool::client;
  const RingSetup& ring = attachment_of(pool).rings[zeropool::v1::detail::ring_of(word)];
  return ring.base + slot * ring.class_bytes;
}

}  // extern "C"
