// Layout version 1, pinned: a change of any number here is another layout version.

#include <cstddef>
#include <cstdint>

#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/ring_hints.hpp>

namespace zeropool::inline v1::lib {
namespace {

static_assert(sizeof(SharedMagazine) == 256);
static_assert(offsetof(SharedMagazine, owner) == 0);
static_assert(offsetof(SharedMagazine, count) == 8);
static_assert(CountWord<std::atomic>::kTakesShift == 8);
static_assert(offsetof(SharedMagazine, slots) == 16);
static_assert(sizeof(SharedSlotWords) == 16);
static_assert(sizeof(SharedThreadRecord) == 128);
static_assert(offsetof(SharedMagazine, users) == 252);
static_assert(offsetof(SharedThreadRecord, barriers) == 20);
static_assert(offsetof(SharedThreadRecord, busy) == 48);
static_assert(offsetof(SharedThreadRecord, steal) == 52);
static_assert(offsetof(SharedThreadRecord, stale_handles) == 64);
static_assert(sizeof(SharedRingRecord) == 256);
static_assert(offsetof(SharedRingRecord, loaded) == 0);
static_assert(offsetof(SharedRingRecord, limit) == 12);
static_assert(offsetof(SharedRingRecord, tallies) == 64);
static_assert(offsetof(SharedRingRecord, taken_hits) == 112);
static_assert(offsetof(SharedRingRecord, spares) == 128);
static_assert(offsetof(SharedRingRecord, released) == 152);
static_assert(offsetof(SharedRingRecord, failures) == 192);
static_assert(sizeof(SharedOrderCell) == 256);
static_assert(offsetof(SharedOrderCell, wake) == 8);
static_assert(offsetof(SharedOrderCell, items) == 128);
static_assert(sizeof(SharedClientRecord) == 128);
static_assert(sizeof(ShareCell<std::atomic>) == 256);
static_assert(offsetof(SharedShareCell, holders) == 32);
static_assert(sizeof(PinCell<std::atomic>) == 64);
static_assert(sizeof(SharedSampleBlock) == std::size_t{kBlockSamples} * 256);
static_assert(offsetof(HoldSample<std::atomic>, tag) == 16);
static_assert(offsetof(HoldSample<std::atomic>, frames) == 32);
static_assert(offsetof(ControlHeader, class_count) == 88);
static_assert(offsetof(ControlHeader, class_bytes_offset) == 144);
static_assert(offsetof(ControlHeader, samples_offset) == 248);
static_assert(offsetof(ControlHeader, wait_timeout_ns) == 320);
static_assert(offsetof(ControlHeader, daemon_state) == 384);
static_assert(offsetof(ControlHeader, threads_published) == 448);
static_assert(offsetof(ControlHeader, threads_wanted) == 512);
static_assert(offsetof(ControlHeader, holders_version) == 576);
static_assert(offsetof(RingDescriptor, cells_published) == 64);
static_assert(offsetof(RingDescriptor, queue_until_ns) == 88);
static_assert(offsetof(RingDescriptor, low_words) == 96);
static_assert(offsetof(RingDescriptor, low) == 128);
static_assert(offsetof(SharedClientRecord, charged_bytes) == 16);
static_assert(offsetof(SharedClientRecord, answered) == 96);

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x100000001b3ULL;
}

constexpr std::uint64_t kHash = [] {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const std::uint64_t value : {std::uint64_t{kLayoutVersion},
                                    std::uint64_t{sizeof(SharedMagazine)},
                                    std::uint64_t{sizeof(SharedSlotWords)},
                                    std::uint64_t{sizeof(SharedThreadRecord)},
                                    std::uint64_t{sizeof(SharedRingRecord)},
                                    std::uint64_t{sizeof(SharedOrderCell)},
                                    std::uint64_t{sizeof(SharedClientRecord)},
                                    std::uint64_t{sizeof(ShareCell<std::atomic>)},
                                    std::uint64_t{sizeof(PinCell<std::atomic>)},
                                    std::uint64_t{sizeof(SharedSampleBlock)},
                                    std::uint64_t{offsetof(HoldSample<std::atomic>, tag)},
                                    std::uint64_t{offsetof(HoldSample<std::atomic>, frames)},
                                    std::uint64_t{sizeof(ControlHeader)},
                                    std::uint64_t{sizeof(ArenaEntry)},
                                    std::uint64_t{sizeof(RingDescriptor)},
                                    std::uint64_t{offsetof(SharedMagazine, slots)},
                                    std::uint64_t{offsetof(SharedMagazine, users)},
                                    std::uint64_t{kMaxMagazineSlots},
                                    std::uint64_t{offsetof(SharedThreadRecord, barriers)},
                                    std::uint64_t{offsetof(SharedThreadRecord, steal)},
                                    std::uint64_t{CountWord<std::atomic>::kTakesShift},
                                    std::uint64_t{offsetof(SharedRingRecord, limit)},
                                    std::uint64_t{offsetof(SharedRingRecord, tallies)},
                                    std::uint64_t{offsetof(SharedRingRecord, spares)},
                                    std::uint64_t{offsetof(SharedRingRecord, failures)},
                                    std::uint64_t{offsetof(SharedOrderCell, items)},
                                    std::uint64_t{offsetof(ControlHeader, wait_timeout_ns)},
                                    std::uint64_t{offsetof(ControlHeader, daemon_state)},
                                    std::uint64_t{offsetof(ControlHeader, holders)},
                                    std::uint64_t{offsetof(ControlHeader, pins_wanted)},
                                    std::uint64_t{offsetof(ControlHeader, shares_wanted)},
                                    std::uint64_t{offsetof(ControlHeader, samples_offset)},
                                    std::uint64_t{offsetof(ControlHeader, samples_published)},
                                    std::uint64_t{offsetof(ControlHeader, samples_wanted)},
                                    std::uint64_t{ShareWord::kVersionShift},
                                    std::uint64_t{offsetof(RingDescriptor, cells_published)},
                                    std::uint64_t{offsetof(RingDescriptor, queue_until_ns)},
                                    std::uint64_t{offsetof(RingDescriptor, low_words)},
                                    RingHintsLayout::make(3, 8, 5).bytes,
                                    std::uint64_t{Mark::kGenerationShift},
                                    std::uint64_t{Mark::kStateShift},
                                    std::uint64_t{OwnerWord::kOrderBits},
                                    std::uint64_t{TransitNote::kBytesBits}}) {
    hash = mix(hash, value);
  }
  return hash;
}();

}  // namespace

std::uint64_t layout_hash() { return kHash; }

}  // namespace zeropool::v1::lib
