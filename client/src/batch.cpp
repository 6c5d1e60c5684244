#include "batch.hpp"

#include <algorithm>

#include <zeropool/detail/pool_state.hpp>

#include "access.hpp"
#include "get.hpp"
#include "order.hpp"
#include "put.hpp"
#include "scrub.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

// One slot without an order, for who would wait for the rest of a batch otherwise.
bool take_now(Attachment& attachment, Access& access, std::uint32_t cls, Taken& taken) noexcept {
  Wish wish;
  wish_of(attachment, access.cache(), kAnyNode, wish);
  if (take_there(attachment, access, cls, wish.arena, taken)) return true;
  const std::uint32_t ring = wish.arena * attachment.class_count + cls;
  return !wish.only && attachment.arenas.size() > 1 &&
         nothing_to_come(attachment, ring, monotonic_ns()) &&
         take_elsewhere(attachment, access, cls, wish.arena, taken);
}

// Takes for one size as many as come without waiting; counts them.
std::size_t take_run(Attachment& attachment, Access& access, std::uint32_t cls, std::size_t bytes,
                     std::size_t count, zp_buffer* buffers) noexcept {
  CacheOps& ops = access.ops();
  zp_pool* const pool = reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment));
  std::size_t taken = 0;
  Source source = Source::kOwn;
  while (taken < count) {
    const std::uint32_t ring = home_ring(attachment, access.cache(), cls);
    const auto wanted =
        static_cast<std::uint32_t>(std::min<std::size_t>(count - taken, lib::kMaxMagazineSlots));
    const RingCache& cache = ops.ring(ring);
    // By value: what the loop stores could be these, for all that the compiler knows.
    const std::uint32_t got = ops.take_many(
        ring, wanted, source,
        [next = buffers + taken, pool, base = cache.base, class_bytes = cache.class_bytes,
         tag = cache.tag, size = static_cast<std::uint32_t>(bytes)](
            std::uint32_t slot, std::uint64_t generation) mutable {
          *next++ = zp_buffer{base + slot * class_bytes, pool, generation | tag, slot, size};
        });
    taken += got;
    if (taken == count) break;
    if (got > 0 && got == wanted) continue;
    // The rest by the general way: it refills, drops damaged entries, and looks on other nodes.
    Taken one;
    choose_home(access);
    if (!take_now(attachment, access, cls, one)) break;
    buffers[taken++] = make_buffer(attachment, one.ring, one.slot, one.mark, bytes);
    source = Source::kClaimed;
  }
  return taken;
}

// What was taken, and counted as got, for a batch that could not be completed: back, and uncounted as gets by
// being counted as puts.
void give_back(Access& access, zp_buffer* buffers, std::size_t count,
               Attachment& attachment) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    if (buffers[i].data == nullptr) continue;
    const std::uint32_t ring = detail::ring_of(buffers[i].word);
    access.ops().put(ring, buffers[i].slot, mark_of(attachment, buffers[i].word));
    buffers[i] = zp_buffer{};
  }
}

}  // namespace

zp_buffer make_buffer(Attachment& attachment, std::uint32_t ring, std::uint32_t slot,
                      lib::Mark mark, std::size_t bytes) noexcept {
  const RingSetup& setup = attachment.rings[ring];
  return zp_buffer{setup.base + slot * setup.class_bytes,
                   reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment)),
                   detail::make_buffer_word(mark, ring, attachment.incarnation), slot,
                   static_cast<std::uint32_t>(bytes)};
}

void hand_out_all(Attachment& attachment, const zp_buffer* buffers, std::size_t count) noexcept {
  if (!attachment.watch.on() && !attachment.clears_always && !attachment.sampling.on()) return;
  for (std::size_t i = 0; i < count; ++i) hand_out(attachment, buffers[i]);
}

namespace {

// As get_many(), but what lies behind is left as it is.
std::size_t get_up_to(Attachment& attachment, std::size_t bytes, std::size_t count,
                      zp_buffer* buffers) noexcept {
  if (ensure_attached(attachment) != 0) return 0;
  if (!attachment.lookup.serves(bytes)) {
    refuse_size(attachment, bytes);
    return 0;
  }
  const std::uint32_t cls = attachment.lookup.class_of(bytes);
  if (count == 0) return 0;
  std::size_t taken = 0;
  {
    Access access(attachment, Patience::kNone);
    if (access.code() != 0 && !access.lacks_record()) return 0;
    if (access.code() == 0) taken = take_run(attachment, access, cls, bytes, count, buffers);
  }
  if (taken > 0) {
    hand_out_all(attachment, buffers, taken);
    if (taken < count) would_wait(attachment);
    return taken;
  }
  // None at all: wait for one, then take what has come with it.
  Taken first;
  if (get_one(attachment, bytes, detail::kWaitAsPool, kAnyNode, first) != 0) return 0;
  buffers[0] = make_buffer(attachment, first.ring, first.slot, first.mark, bytes);
  taken = 1;
  int code = 0;
  {
    Access access(attachment);
    code = access.code();
    if (code == 0) taken += take_run(attachment, access, cls, bytes, count - 1, buffers + 1);
  }
  hand_out_all(attachment, buffers, taken);
  if (code == 0 && taken < count) would_wait(attachment);
  return taken;
}

}  // namespace

std::size_t get_many(Attachment& attachment, std::size_t bytes, std::size_t count,
                     zp_buffer* buffers) noexcept {
  const std::size_t taken = get_up_to(attachment, bytes, count, buffers);
  std::fill(buffers + taken, buffers + count, zp_buffer{});
  return taken;
}

int count_wants(Attachment& attachment, const BatchWish& batch, OrderWants& wants) noexcept {
  if (batch.count == 0) return fail(ErrorCode::invalid_size, "a batch has at least one size");
  for (std::size_t i = 0; i < batch.count; ++i) {
    if (!attachment.lookup.serves(batch.bytes[i])) return refuse_size(attachment, batch.bytes[i]);
    std::uint32_t& wanted = wants.count[attachment.lookup.class_of(batch.bytes[i])];
    if (++wanted > lib::OrderItem::kMaxCount) {
      return fail(ErrorCode::too_large, "a batch has at most 2^26 buffers of one class");
    }
  }
  return 0;
}

AtHand fill_at_hand(Attachment& attachment, const BatchWish& batch, std::uint32_t& missing_ring,
                    int& code) noexcept {
  Access access(attachment, Patience::kNone);
  code = access.code();
  if (code != 0) return access.lacks_record() ? AtHand::kNoCache : AtHand::kFailed;
  std::size_t filled = 0;
  std::uint32_t cls = 0;
  for (; filled < batch.count; ++filled) {
    Taken one;
    cls = attachment.lookup.class_of(batch.bytes[filled]);
    choose_home(access);
    if (!take_now(attachment, access, cls, one)) break;
    batch.buffers[filled] =
        make_buffer(attachment, one.ring, one.slot, one.mark, batch.bytes[filled]);
  }
  if (filled == batch.count) return AtHand::kTaken;
  // Nobody waits holding a part: the whole is ordered.
  give_back(access, batch.buffers, filled, attachment);
  access.ops().flush_all();
  missing_ring = home_ring(attachment, access.cache(), cls);
  return AtHand::kNothing;
}

bool accept_batch(Attachment& attachment, Access& access, Order& order, const OrderWants& wants,
                  std::uint32_t arena, const BatchWish& batch) noexcept {
  std::size_t granted = 0;
  order.accept(access.ops(), wants, [&](std::uint32_t ring, std::uint32_t slot, lib::Mark mark) {
    const std::uint32_t cls = ring % attachment.class_count;
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (batch.buffers[i].data != nullptr || attachment.lookup.class_of(batch.bytes[i]) != cls)
        continue;
      batch.buffers[i] = make_buffer(attachment, ring, slot, mark, batch.bytes[i]);
      ++granted;
      count_granted(attachment, access, ring, arena);
      return;
    }
  });
  if (granted == batch.count) return true;
  give_back(access, batch.buffers, batch.count, attachment);
  return false;
}

int get_batch(Attachment& attachment, const std::size_t* bytes, std::size_t count,
              zp_buffer* buffers) noexcept {
  for (std::size_t i = 0; i < count; ++i) buffers[i] = zp_buffer{};
  if (const int code = ensure_attached(attachment); code != 0) return code;
  const BatchWish batch{bytes, count, buffers};
  OrderWants wants;
  if (const int code = count_wants(attachment, batch, wants); code != 0) return code;
  const std::int64_t deadline = deadline_of(attachment, detail::kWaitAsPool);
  for (;;) {
    std::uint32_t missing_ring = 0;
    int code = 0;
    switch (fill_at_hand(attachment, batch, missing_ring, code)) {
      case AtHand::kTaken: hand_out_all(attachment, buffers, count); return 0;
      case AtHand::kFailed: return code;
      case AtHand::kNoCache:
        code = await_cache(attachment, deadline);
        if (code != 0) return code;
        continue;
      case AtHand::kNothing: break;
    }
    const std::uint32_t arena = missing_ring / attachment.class_count;
    Order order(attachment);
    const bool only = attachment.placement == lib::Placement::kLocalOnly;
    code = order.place(wants, arena, only ? lib::kOrderOneNode : 0, deadline);
    bool filled = false;
    {
      Access access(attachment);
      if (access.code() != 0) return access.code();
      if (code != 0) {
        count_failure(access, missing_ring, static_cast<ErrorCode>(code));
        return code;
      }
      filled = accept_batch(attachment, access, order, wants, arena, batch);
    }
    if (filled) {
      hand_out_all(attachment, buffers, count);
      return 0;
    }
    // Damaged entries among them: ask again.
    if (monotonic_ns() >= deadline) return would_wait(attachment);
  }
}

void put_many(zp_buffer* buffers, std::size_t count) noexcept {
  std::size_t i = 0;
  while (i < count) {
    if (buffers[i].data == nullptr) {
      ++i;
      continue;
    }
    // A run of one ring.
    zp_pool* const pool = buffers[i].pool;
    Attachment& attachment = attachment_of(pool);
    const std::uint32_t ring = detail::ring_of(buffers[i].word);
    const std::uint64_t tag = buffers[i].word & lib::Mark::kHolderMask;
    std::uint32_t slots[lib::kMaxMagazineSlots];
    std::uint64_t held[lib::kMaxMagazineSlots];  // their marks
    std::uint32_t run = 0;
    bool ends = false;
    if (check_incarnation(attachment, buffers[i].word) != 0) {
      buffers[i++] = zp_buffer{};
      continue;
    }
    {
      Access access(attachment, Patience::kNone);
      if (access.code() != 0) {
        put_orphaned(attachment, ring, buffers[i].slot, mark_of(attachment, buffers[i].word));
        buffers[i++] = zp_buffer{};
        continue;
      }
      CacheOps& ops = access.ops();
      ops.renew_bound(ring);
      lib::SharedSlotWords* const words = ops.ring(ring).slots;
      const std::uint32_t bound = ops.ring(ring).slot_bound;
      const std::uint64_t held_bits = access.cache().hot.held_bits;
      const bool watched = attachment.watch.on();
      for (; i < count && run < lib::kMaxMagazineSlots; ++i) {
        zp_buffer& buffer = buffers[i];
        if (buffer.data == nullptr) continue;
        // The generation alone, if ring and incarnation are the run's.
        const std::uint64_t generation = buffer.word ^ tag;
        if (buffer.pool != pool || (generation & lib::Mark::kHolderMask) != 0) break;
        const lib::Mark wanted{generation | held_bits};
        lib::Mark mine = wanted;
        if (lib::begin_put(words, bound, buffer.slot, mine)) [[likely]] {
          if (watched) attachment.watch.before_put(attachment, ring, buffer.slot, wanted);
          slots[run] = buffer.slot;
          held[run++] = mine.word;
        } else {
          const lib::SharedRingView& view = attachment.rings[ring].view;
          refuse_not_held(
              attachment, access.cache(), wanted,
              lib::Mark{buffer.slot < view.slot_bound()
                            ? view.slots[buffer.slot].mark.load(std::memory_order_relaxed)
                            : 0});
        }
        buffer = zp_buffer{};
      }
      std::uint32_t done = 0;
      while (done < run) {
        const std::uint32_t step = ops.put_many(ring, run - done, slots + done, held + done);
        if (step == 0) {
          ops.put(ring, slots[done], lib::Mark{held[done]});  // no room: damage
          ++done;
        }
        done += step;
      }
      ops.give_way_if_asked(ring);
      ends = attachment.closing.load(std::memory_order_relaxed);
    }
    if (ends) end_if_unused(attachment);
  }
}

}  // namespace zeropool::client
