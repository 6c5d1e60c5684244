#include "adopt.hpp"

#include <algorithm>

#include <zeropool/lib/hand_off.hpp>
#include <zeropool/lib/tracepoint.hpp>

#include "access.hpp"
#include "quota.hpp"
#include "size_text.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

constexpr const char* kStale = "this handle was adopted already, taken back, or its lease is over";

int stale(Access& access, const char* why) noexcept {
  count_up(access.cache().hot.record->stale_handles);
  return fail(ErrorCode::stale_handle, why);
}

// kFull: the quota has no room for it; nothing has changed.
enum class Try { kAdopted, kFailed, kFull };

int wrong_type(std::uint32_t tag, std::uint64_t bytes, const zp_type& wanted) noexcept {
  const auto name = [](std::uint32_t its_tag, std::uint64_t its_bytes) {
    return its_tag == 0 ? std::string("plain bytes")
                        : "type " + std::to_string(its_tag) + " of " + size_text(its_bytes);
  };
  return fail(ErrorCode::wrong_type, "this handle is of " + name(tag, bytes) + ", not of " +
                                         name(wanted.tag, wanted.bytes) +
                                         ": adopt it as what it was released as");
}

Try try_adopt(Attachment& attachment, const HandleParts& parts, const zp_type& type,
              zp_buffer* buffer, int& code) noexcept {
  Access access(attachment);
  code = access.code();
  if (code != 0) return Try::kFailed;
  if ((parts.kind != HandleKind::kBuffer && parts.kind != HandleKind::kShare) ||
      parts.pool_tag != attachment.pool_tag) {
    code = stale(access, "this is not a handle of this pool");
    return Try::kFailed;
  }
  if (parts.ring >= attachment.rings.size() ||
      parts.slot >= attachment.rings[parts.ring].view.slot_bound()) {
    code = stale(access, "this handle names no buffer of the pool");
    return Try::kFailed;
  }
  const RingSetup& setup = attachment.rings[parts.ring];
  if (parts.kind == HandleKind::kShare) {
    const lib::Mark mark{setup.view.slots[parts.slot].mark.load(std::memory_order_relaxed)};
    code = mark.state() == lib::SlotState::kShared && mark.generation() == parts.generation
               ? fail(ErrorCode::invalid_argument,
                      "this handle is of a shared buffer: adopt it with adopt_shared()")
               : stale(access, "this handle is of a buffer that is shared no more");
    return Try::kFailed;
  }
  lib::TransitNote note;
  if (!lib::read_hand_off(setup.view.slots[parts.slot], parts.generation, note)) {
    code = stale(access, kStale);
    return Try::kFailed;
  }
  if (note.tag() == 0 && parts.type_high != 0) {
    code = stale(access, "this is not a handle of this pool");
    return Try::kFailed;
  }
  const std::uint32_t tag = note.tag() | parts.type_high << lib::TransitNote::kTagBits;
  const std::byte* const data = setup.base + parts.slot * setup.class_bytes;
  if (tag != type.tag ||
      (tag != 0 && (note.bytes() != type.bytes ||
                    reinterpret_cast<std::uintptr_t>(data) % type.alignment != 0))) {
    code = wrong_type(tag, note.bytes(), type);
    return Try::kFailed;
  }
  lib::SharedClientCharge charge = charge_of(attachment);
  if (!charge.reserve(setup.class_bytes)) {  // Q1
    access.ops().flush_all();
    if (!charge.reserve(setup.class_bytes)) return Try::kFull;
  }
  if (!lib::end_hand_off(setup.view.slots[parts.slot], parts.generation, attachment.client_id,
                         note)) {
    charge.remove(setup.class_bytes);
    code = stale(access, kStale);
    return Try::kFailed;
  }
  lib::tracepoint::adopt(attachment.header().pool_name, setup.class_bytes, parts.slot,
                         parts.generation);
  count_up(access.ops().record(parts.ring).adopted);
  const std::uint64_t bytes = std::min<std::uint64_t>(note.bytes(), setup.class_bytes);
  const lib::Mark mark =
      lib::Mark::make(parts.generation, lib::SlotState::kHeld, attachment.client_id);
  *buffer = zp_buffer{setup.base + parts.slot * setup.class_bytes,
                      reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment)),
                      detail::make_buffer_word(mark, parts.ring, attachment.incarnation),
                      parts.slot, static_cast<std::uint32_t>(bytes)};
  if (attachment.watch.on()) attachment.watch.adopted(attachment, *buffer);
  return Try::kAdopted;
}

// A hold begins for this client, as by a get.
int sampled(Attachment& attachment, const zp_buffer& buffer, int code) noexcept {
  if (code == 0 && attachment.sampling.on()) attachment.sampling.got(attachment, buffer);
  return code;
}

}  // namespace

zp_handle make_handle(const HandleParts& parts) noexcept {
  return zp_handle{{(parts.generation << 24) | (std::uint64_t{parts.ring} << 8) |
                        (std::uint64_t{parts.type_high} << 1) |
                        static_cast<std::uint64_t>(parts.kind),
                    (std::uint64_t{parts.pool_tag} << 32) | parts.slot}};
}

HandleParts read_handle(zp_handle handle) noexcept {
  const auto low = static_cast<std::uint32_t>(handle.word[0] & 0xff);
  const HandleKind kind = low % 2 == 1 ? HandleKind::kBuffer
                          : low == static_cast<std::uint32_t>(HandleKind::kShare)
                              ? HandleKind::kShare
                              : HandleKind::kNone;
  return {handle.word[0] >> 24,
          static_cast<std::uint32_t>((handle.word[0] >> 8) & 0xffff),
          static_cast<std::uint32_t>(handle.word[1]),
          static_cast<std::uint32_t>(handle.word[1] >> 32),
          kind,
          kind == HandleKind::kBuffer ? low >> 1 : 0};
}

int adopt(Attachment& attachment, zp_handle handle, const zp_type& type,
          zp_buffer* buffer) noexcept {
  const HandleParts parts = read_handle(handle);
  int code = 0;
  if (try_adopt(attachment, parts, type, buffer, code) != Try::kFull)
    return sampled(attachment, *buffer, code);
  if (cached_bytes(attachment) != 0) {  // by other threads: this one's caches are empty now
    ask_caches_for_room(attachment, parts.ring);
    if (try_adopt(attachment, parts, type, buffer, code) != Try::kFull)
      return sampled(attachment, *buffer, code);
  }
  return refuse_over_quota(attachment);
}

}  // namespace zeropool::client
