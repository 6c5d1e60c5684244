#include "share.hpp"

#include <algorithm>
#include <string>
#include <time.h>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/share_cell.hpp>

#include "access.hpp"
#include "adopt.hpp"
#include "order.hpp"
#include "put.hpp"
#include "quota.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::int64_t kWaitForCellsNs = 1'000'000'000;  // until zeropoold has published more
constexpr std::int64_t kRetryNs = 1'000'000;

lib::HoldWord me(const Attachment& attachment) noexcept {
  return lib::HoldWord::one(attachment.client_id, attachment.epoch);
}

std::uint32_t published_cells(const Attachment& attachment) noexcept {
  const lib::ControlHeader& header = attachment.header();
  return std::min(header.shares_published.load(std::memory_order_acquire), header.share_capacity);
}

// An Opening cell, with where it is. lib::kNone: all are in use.
std::uint32_t take_free_cell(Attachment& attachment) noexcept {
  const std::uint32_t published = published_cells(attachment);
  const std::uint32_t start = attachment.next_share.load(kRelaxed);
  for (std::uint32_t i = 0; i < published; ++i) {
    const std::uint32_t number = (start + i) % published;
    if (!lib::begin_share(attachment.view.share(number), attachment.client_id)) continue;
    attachment.next_share.store(number + 1, kRelaxed);
    return number;
  }
  return lib::kNone;
}

// Waits a moment where zeropoold can publish more: not within an Access.
std::uint32_t take_cell(Attachment& attachment) noexcept {
  const std::int64_t until = monotonic_ns() + kWaitForCellsNs;
  for (;;) {
    const std::uint32_t number = take_free_cell(attachment);
    if (number != lib::kNone) return number;
    lib::ControlHeader& header = attachment.header();
    if (published_cells(attachment) == header.share_capacity || monotonic_ns() >= until) {
      return lib::kNone;
    }
    header.shares_wanted.store(1, kRelaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // B1, as of an order
    if (header.sleeping.load(kRelaxed) != 0) attachment.descriptors.ring();
    const timespec pause{0, kRetryNs};
    ::nanosleep(&pause, nullptr);
  }
}

zp_shared make_shared(Attachment& attachment, std::uint64_t generation, std::uint32_t ring,
                      std::uint32_t slot, std::uint64_t bytes, std::uint32_t cell,
                      std::uint32_t hold) noexcept {
  const RingSetup& setup = attachment.rings[ring];
  const lib::Mark mark = lib::Mark::make(generation, lib::SlotState::kShared, 0);
  return {setup.base + slot * setup.class_bytes,
          reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment)),
          detail::make_buffer_word(mark, ring, attachment.incarnation),
          slot,
          static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, setup.class_bytes)),
          cell,
          hold};
}

// wrong_process, or not_held for words that share() and adopt_shared() have not made.
int check_shared(Attachment& attachment, const zp_shared& shared) noexcept {
  if (const int code = check_incarnation(attachment, shared.word); code != 0) return code;
  if (shared.cell < published_cells(attachment) && shared.hold < lib::kShareHolders) {
    // They stand as long as the caller has its hold (R5): a copy that was put already names another share, or none.
    const lib::SharedSlot name = lib::named_by(attachment.view.share(shared.cell));
    if (name.generation == detail::generation_of(shared.word) &&
        name.ring == detail::ring_of(shared.word) && name.slot == shared.slot) {
      return 0;
    }
  }
  return fail(ErrorCode::not_held, "this is no hold of a shared buffer");
}

void came_back(Attachment& attachment, std::uint32_t ring) noexcept {
  Access access(attachment, Patience::kNone);
  if (access.code() == 0) {
    count_up(access.ops().record(ring).adopted);
    return;
  }
  Locked lock(attachment.guard->lock);
  ++attachment.exited.adopted;
}

// The share is this client's to end: Dying. The slot is held then, unless no mark named the cell. `hold`, if it is one, is
// given up in between: who is killed before that had the slot by its mark or by its hold, and I/O into it is waited for.
bool take_slot(Attachment& attachment, std::uint32_t number, std::uint32_t hold,
               lib::SharedSlot& name, lib::Mark& taken) noexcept {
  lib::SharedShareCell& cell = attachment.view.share(number);
  name = lib::named_by(cell);
  bool ours = false;
  if (name.ring < attachment.rings.size() &&
      name.slot < attachment.rings[name.ring].view.slot_bound()) {
    const RingSetup& setup = attachment.rings[name.ring];
    lib::SharedClientCharge charge = charge_of(attachment);
    charge.add(setup.class_bytes);  // H2
    ours = lib::take_shared(setup.view.slots[name.slot].mark, name.mark(number),
                            lib::SlotState::kHeld, attachment.client_id, taken);
    if (!ours) charge.remove(setup.class_bytes);
  }
  if (hold != lib::kNone) lib::remove_hold(cell, hold, me(attachment));
  lib::free_share(cell, attachment.client_id);
  if (ours) came_back(attachment, name.ring);
  return ours;
}

// R4
void put_if_last(Attachment& attachment, std::uint32_t number) noexcept {
  if (!lib::end_share(attachment.view.share(number), attachment.client_id)) return;
  lib::SharedSlot name;
  lib::Mark taken;
  if (!take_slot(attachment, number, lib::kNone, name, taken)) return;
  put_one(attachment, detail::make_buffer_word(taken, name.ring, attachment.incarnation),
          name.slot);
}

void one_hold_less(Attachment& attachment) noexcept {
  attachment.share_holds.fetch_sub(1, std::memory_order_acq_rel);
  if (attachment.closing.load(kRelaxed)) end_if_unused(attachment);
}

int refuse_too_many_shares(const Attachment& attachment) noexcept {
  return fail(ErrorCode::too_many_shares,
              "pool " + attachment.wish.pool_name + ": all " +
                  std::to_string(published_cells(attachment)) +
                  " shares that there can be now are in use: drop shared buffers that are read, or "
                  "hand buffers on one at a time with release()");
}

int stale(Access& access, const char* why) noexcept {
  count_up(access.cache().hot.record->stale_handles);
  return fail(ErrorCode::stale_handle, why);
}

// The cell that the handle's slot is shared by; lib::kNone, and `code`: none.
std::uint32_t cell_of(Attachment& attachment, Access& access, const HandleParts& parts,
                      lib::Mark& mark, int& code) noexcept {
  if ((parts.kind != HandleKind::kBuffer && parts.kind != HandleKind::kShare) ||
      parts.pool_tag != attachment.pool_tag) {
    code = stale(access, "this is not a handle of this pool");
    return lib::kNone;
  }
  if (parts.ring >= attachment.rings.size() ||
      parts.slot >= attachment.rings[parts.ring].view.slot_bound()) {
    code = stale(access, "this handle names no buffer of the pool");
    return lib::kNone;
  }
  mark = lib::Mark{
      attachment.rings[parts.ring].view.slots[parts.slot].mark.load(std::memory_order_acquire)};
  if (parts.kind == HandleKind::kBuffer && mark.state() == lib::SlotState::kInTransit &&
      mark.generation() == parts.generation) {
    code = fail(ErrorCode::invalid_argument,
                "this handle is of a released buffer, not of a shared one: adopt it with adopt()");
    return lib::kNone;
  }
  if (parts.kind == HandleKind::kShare && mark.state() == lib::SlotState::kShared &&
      mark.generation() == parts.generation && mark.client() < published_cells(attachment)) {
    return mark.client();
  }
  code = stale(access, "the buffer of this handle is shared no more: all who had it gave it up");
  return lib::kNone;
}

}  // namespace

int share(Attachment& attachment, zp_buffer* buffer, zp_shared* shared) noexcept {
  if (const int code = check_incarnation(attachment, buffer->word); code != 0) return code;
  const std::uint32_t ring = detail::ring_of(buffer->word);
  const RingSetup& setup = attachment.rings[ring];
  const std::uint32_t slot = buffer->slot;
  const lib::Mark held = mark_of(attachment, buffer->word);
  const auto found = [&] {
    return lib::Mark{slot < setup.view.slot_bound() ? setup.view.slots[slot].mark.load(kRelaxed)
                                                    : 0};
  };
  std::uint32_t number = lib::kNone;
  std::uint32_t hold = lib::kNone;
  if (found() == held) {
    const lib::SharedSlot name{ring, slot, held.generation() + 1};
    const auto note = lib::TransitNote::make(buffer->size, 0, 0);
    // Another cell where holds of others, who come late, have all words for a moment (R7).
    while (hold == lib::kNone) {
      number = take_cell(attachment);
      if (number == lib::kNone) return refuse_too_many_shares(attachment);
      hold = lib::open_share(attachment.view.share(number), name, note, me(attachment));
    }
  }
  bool committed = false;
  int code = 0;
  {
    Access access(attachment);
    code = access.code();
    if (code == 0 && hold != lib::kNone) {
      if (attachment.watch.on()) attachment.watch.before_share(attachment, ring, slot);
      committed = lib::commit_share(setup.view.slots[slot].mark, held, number);
      if (committed) {
        attachment.share_holds.fetch_add(1, std::memory_order_relaxed);  // H1
        charge_of(attachment).remove(setup.class_bytes);                 // H2
        std::atomic_thread_fence(std::memory_order_release);             // pairs with held_slots()
        count_up(access.ops().record(ring).released);
        *shared =
            make_shared(attachment, held.generation() + 1, ring, slot, buffer->size, number, hold);
        if (attachment.watch.on()) attachment.watch.shared(ring, slot, buffer->size);
      }
    }
    if (code == 0 && !committed) code = refuse_not_held(attachment, access.cache(), held, found());
  }
  if (committed) {
    *buffer = zp_buffer{};
  } else if (hold != lib::kNone) {
    lib::remove_hold(attachment.view.share(number), hold, me(attachment));
    put_if_last(attachment, number);
  }
  return code;
}

int share_handle(Attachment& attachment, const zp_shared& shared, std::uint32_t adoptions,
                 zp_handle* handle) noexcept {
  if (const int code = check_shared(attachment, shared); code != 0) return code;
  if (adoptions == 0 || !lib::hand_on(attachment.view.share(shared.cell), adoptions)) {
    return fail(ErrorCode::invalid_argument,
                "the handles of a shared buffer are good for 1 to " +
                    std::to_string(lib::ShareWord::kMostTickets) +
                    " adoptions at a time: ask for fewer, or have some adopted first");
  }
  *handle = make_handle({detail::generation_of(shared.word), detail::ring_of(shared.word),
                         shared.slot, attachment.pool_tag, HandleKind::kShare});
  return 0;
}

int adopt_shared(Attachment& attachment, zp_handle handle, zp_shared* shared) noexcept {
  const HandleParts parts = read_handle(handle);
  std::uint32_t number = lib::kNone;
  int code = 0;
  {
    Access access(attachment);
    if (access.code() != 0) return access.code();
    lib::Mark mark;
    number = cell_of(attachment, access, parts, mark, code);
    if (number == lib::kNone) return code;
    lib::SharedShareCell& cell = attachment.view.share(number);
    const RingSetup& setup = attachment.rings[parts.ring];
    std::uint32_t hold = lib::kNone;
    switch (lib::join_share(cell, setup.view.slots[parts.slot].mark, mark, me(attachment), hold)) {
      case lib::JoinOutcome::kJoined: {
        attachment.share_holds.fetch_add(1, std::memory_order_relaxed);  // H1
        const lib::TransitNote note{cell.note.load(kRelaxed)};
        *shared = make_shared(attachment, parts.generation, parts.ring, parts.slot, note.bytes(),
                              number, hold);
        if (attachment.watch.on()) attachment.watch.shared(parts.ring, parts.slot, shared->size);
        return 0;
      }
      case lib::JoinOutcome::kFull:
        return fail(
            ErrorCode::too_many_holders,
            "this shared buffer has " + std::to_string(lib::kShareHolders) +
                " processes that hold it, as many as there can be: share a copy of it, or "
                "adopt it when one of them has put it; the handle stays good for its lease");
      case lib::JoinOutcome::kStale:
        code = stale(access,
                     "this handle was adopted as often as it is good for, or its lease is over");
    }
  }
  // Its attachment is open by the caller's pool.
  put_if_last(attachment, number);
  return code;
}

int copy_shared(Attachment& attachment, const zp_shared& shared, zp_shared* copy) noexcept {
  if (const int code = check_shared(attachment, shared); code != 0) return code;
  // The caller's own word goes up: it is there as long as `shared` is.
  std::atomic<std::uint64_t>& word = attachment.view.share(shared.cell).holders[shared.hold];
  lib::HoldWord found{word.load(kRelaxed)};
  do {
    if (!found.same_holder(me(attachment)) || found.count() == 0xffffffffU) {
      return fail(ErrorCode::not_held, "this hold of a shared buffer was put already");
    }
  } while (!word.compare_exchange_strong(found.word, found.word + lib::HoldWord::kOne,
                                         std::memory_order_acq_rel, kRelaxed));
  attachment.share_holds.fetch_add(1, std::memory_order_relaxed);
  *copy = shared;
  return 0;
}

int unshare(Attachment& attachment, const zp_shared& shared, zp_buffer* buffer) noexcept {
  if (const int code = check_shared(attachment, shared); code != 0) return code;
  lib::SharedShareCell& cell = attachment.view.share(shared.cell);
  if (!lib::end_own_share(cell, me(attachment), shared.hold)) {
    return fail(ErrorCode::still_shared,
                "others hold this shared buffer, or a handle of it is on its way: only the last "
                "holder can write it again");
  }
  lib::SharedSlot name;
  lib::Mark taken;
  int code = 0;
  if (take_slot(attachment, shared.cell, shared.hold, name, taken)) {
    const RingSetup& setup = attachment.rings[name.ring];
    *buffer = zp_buffer{setup.base + name.slot * setup.class_bytes, shared.pool,
                        detail::make_buffer_word(taken, name.ring, attachment.incarnation),
                        name.slot, shared.size};
    if (attachment.watch.on()) attachment.watch.adopted(attachment, *buffer);
  } else {
    code = fail(ErrorCode::not_held, "this shared buffer was taken back already");
  }
  {
    // Under the lock: who sums up what is held finds the hold, or the Buffer (attachment.cpp, held_slots()).
    Locked lock(attachment.guard->lock);
    attachment.share_holds.fetch_sub(1, std::memory_order_acq_rel);
  }
  if (attachment.closing.load(kRelaxed)) end_if_unused(attachment);
  return code;
}

int put_shared(Attachment& attachment, const zp_shared& shared) noexcept {
  if (const int code = check_shared(attachment, shared); code != 0) return code;
  if (!lib::remove_hold(attachment.view.share(shared.cell), shared.hold, me(attachment))) {
    return fail(ErrorCode::not_held, "this hold of a shared buffer was put already");
  }
  put_if_last(attachment, shared.cell);
  one_hold_less(attachment);
  return 0;
}

}  // namespace zeropool::client

extern "C" {

int zp_share(zp_buffer* buffer, zp_shared* shared) {
  using namespace zeropool::client;
  if (shared == nullptr || buffer == nullptr || buffer->data == nullptr)
    return fail(ErrorCode::invalid_argument,
                "zp_share needs a held buffer and a place for the shared one");
  *shared = zp_shared{};
  return share(attachment_of(buffer->pool), buffer, shared);
}

int zp_share_handle(const zp_shared* shared, uint32_t adoptions, zp_handle* handle) {
  using namespace zeropool::client;
  if (shared == nullptr || shared->data == nullptr || handle == nullptr)
    return fail(ErrorCode::invalid_argument,
                "zp_share_handle needs a shared buffer and a place for the handle");
  *handle = zp_handle{};
  return share_handle(attachment_of(shared->pool), *shared, adoptions, handle);
}

int zp_adopt_shared(zp_pool* pool, zp_handle handle, zp_shared* shared) {
  using namespace zeropool::client;
  if (pool == nullptr || shared == nullptr)
    return fail(ErrorCode::invalid_argument,
                "zp_adopt_shared needs an open pool and a place for the shared buffer");
  *shared = zp_shared{};
  return adopt_shared(attachment_of(pool), handle, shared);
}

int zp_shared_copy(const zp_shared* shared, zp_shared* copy) {
  using namespace zeropool::client;
  if (shared == nullptr || shared->data == nullptr || copy == nullptr)
    return fail(ErrorCode::invalid_argument,
                "zp_shared_copy needs a shared buffer and a place for its copy");
  *copy = zp_shared{};
  return copy_shared(attachment_of(shared->pool), *shared, copy);
}

int zp_unshare(zp_shared* shared, zp_buffer* buffer) {
  using namespace zeropool::client;
  if (shared == nullptr || shared->data == nullptr || buffer == nullptr)
    return fail(ErrorCode::invalid_argument,
                "zp_unshare needs a shared buffer and a place for the buffer");
  *buffer = zp_buffer{};
  const int code = unshare(attachment_of(shared->pool), *shared, buffer);
  if (code == 0) *shared = zp_shared{};
  return code;
}

int zp_shared_put(zp_shared* shared) {
  using namespace zeropool::client;
  if (shared == nullptr || shared->data == nullptr) return 0;
  const zp_shared put = *shared;
  *shared = zp_shared{};
  return put_shared(attachment_of(put.pool), put);
}

}  // extern "C"
