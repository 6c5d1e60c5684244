#include "put.hpp"

#include <zeropool/detail/pool_state.hpp>

#include "access.hpp"
#include "quota.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

}  // namespace

int check_incarnation(Attachment& attachment, std::uint64_t buffer_word) noexcept {
  if (attachment.attached() && detail::incarnation_of(buffer_word) == attachment.incarnation &&
      detail::ring_of(buffer_word) < attachment.rings.size()) {
    return 0;
  }
  return fail(
      ErrorCode::wrong_process,
      "this buffer was inherited by fork, or its pool was closed: it is its getter's, inert here");
}

lib::Mark mark_of(const Attachment& attachment, std::uint64_t buffer_word) noexcept {
  return lib::Mark::make(detail::generation_of(buffer_word), lib::SlotState::kHeld,
                         attachment.client_id);
}

int refuse_not_held(Attachment& attachment, ClientCache& cache, lib::Mark wanted,
                    lib::Mark found) noexcept {
  const std::string pool = "pool " + attachment.wish.pool_name + ": ";
  const bool other =
      found.generation() == wanted.generation() && found.state() == lib::SlotState::kHeld;
  if (other) {
    count_up(cache.hot.record->foreign_puts);
    return fail(ErrorCode::not_held, pool + "this buffer is held by client " +
                                         std::to_string(found.client()) + ", not by this process");
  }
  count_up(cache.hot.record->double_puts);
  return fail(ErrorCode::not_held,
              pool + "this buffer was put, released or reclaimed already; put it once");
}

int put_orphaned(Attachment& attachment, std::uint32_t ring, std::uint32_t slot,
                 lib::Mark wanted) noexcept {
  const lib::SharedRingView& view = attachment.rings[ring].view;
  std::uint64_t expected = wanted.word;
  if (attachment.watch.on() && slot < view.slot_bound() &&
      view.slots[slot].mark.load(std::memory_order_relaxed) == expected) {
    attachment.watch.before_put(attachment, ring, slot, wanted);
  }
  if (slot >= view.slot_bound() ||
      !view.slots[slot].mark.compare_exchange_strong(
          expected, wanted.next(lib::SlotState::kOrphaned, 0).word, std::memory_order_release)) {
    return fail(ErrorCode::not_held, "this buffer was put already, or is not this process's");
  }
  charge_of(attachment).remove(attachment.rings[ring].class_bytes);
  {
    Locked lock(attachment.guard->lock);
    ++attachment.exited.puts;
  }
  attachment.header().orphans.fetch_add(1, std::memory_order_relaxed);
  if (attachment.closing.load(std::memory_order_relaxed)) end_if_unused(attachment);
  return 0;
}

int put_one(Attachment& attachment, std::uint64_t buffer_word, std::uint32_t slot) noexcept {
  if (const int code = check_incarnation(attachment, buffer_word); code != 0) return code;
  const std::uint32_t ring = detail::ring_of(buffer_word);
  {
    Access access(attachment, Patience::kNone);
    if (access.code() != 0)
      return put_orphaned(attachment, ring, slot, mark_of(attachment, buffer_word));
    CacheOps& ops = access.ops();
    const lib::SharedRingView& view = attachment.rings[ring].view;
    const lib::Mark wanted = mark_of(attachment, buffer_word);
    const lib::Mark found{
        slot < view.slot_bound() ? view.slots[slot].mark.load(std::memory_order_relaxed) : 0};
    if (found != wanted) return refuse_not_held(attachment, access.cache(), wanted, found);
    if (attachment.watch.on()) attachment.watch.before_put(attachment, ring, slot, wanted);
    ops.put(ring, slot, wanted);
    ops.give_way_if_asked(ring);
  }
  if (attachment.closing.load(std::memory_order_relaxed)) end_if_unused(attachment);
  return 0;
}

}  // namespace zeropool::client

extern "C" void zp_v1_put_slow(zp_pool* pool, std::uint64_t word, std::uint32_t slot) noexcept {
  zeropool::client::put_one(zeropool::client::attachment_of(pool), word, slot);
}
