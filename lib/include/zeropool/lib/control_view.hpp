#pragma once
// A control segment as one process sees it: checked once, then typed access to its tables.
//
// Thread safety: a value of plain pointers; the pointed-at structures state their own.
// Trust: a client checks what the daemon sent (`check_control_segment`); the daemon never reads its own tables
// back from the segment, it keeps its ControlPlan and makes views from that.

#include <atomic>
#include <cstdint>
#include <string>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/client_record.hpp>
#include <zeropool/lib/control_header.hpp>
#include <zeropool/lib/hold_sample_block.hpp>
#include <zeropool/lib/order_cell.hpp>
#include <zeropool/lib/share_cell.hpp>
#include <zeropool/lib/thread_record.hpp>

namespace zeropool::inline v1::lib {

using SharedMagazine = Magazine<std::atomic>;
using SharedCountWord = CountWord<std::atomic>;
using SharedSlotWords = SlotWords<std::atomic>;
using SharedThreadRecord = ThreadRecord<std::atomic>;
using SharedRingRecord = RingRecord<std::atomic>;
using SharedOrderCell = OrderCell<std::atomic>;
using SharedClientRecord = ClientRecord<std::atomic>;
using SharedShareCell = ShareCell<std::atomic>;
using SharedSampleBlock = HoldSampleBlock<std::atomic>;
using SharedRingView = RingView<std::atomic>;
using SharedBatchRing = BatchRing<std::atomic>;

struct ControlPlan;
struct RingPlan;

// Empty string: `bytes` at `segment` are a control segment that this build can use. Else why not.
std::string check_control_segment(const void* segment, std::uint64_t bytes);

class ControlView {
 public:
  ControlView() = default;
  // From a checked segment; copies the table positions, so that a later write to them changes nothing.
  explicit ControlView(void* segment);
  // From the daemon's own plan.
  ControlView(void* segment, const ControlPlan& plan);

  ControlHeader& header() const noexcept { return *reinterpret_cast<ControlHeader*>(base_); }
  RingDescriptor& descriptor(std::uint32_t ring) const noexcept {
    return reinterpret_cast<RingDescriptor*>(base_ + rings_offset_)[ring];
  }
  SharedThreadRecord& thread(std::uint32_t number) const noexcept {
    return *reinterpret_cast<SharedThreadRecord*>(base_ + threads_offset_ +
                                                  std::uint64_t{number} * thread_record_bytes_);
  }
  static SharedRingRecord* rings_of(SharedThreadRecord& thread) noexcept {
    return reinterpret_cast<SharedRingRecord*>(&thread + 1);
  }
  SharedOrderCell& order(std::uint32_t number) const noexcept {
    return reinterpret_cast<SharedOrderCell*>(base_ + orders_offset_)[number];
  }
  std::atomic<std::uint64_t>& order_hint_word(std::uint32_t order_number) const noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(base_ +
                                                         order_hints_offset_)[order_number / 64];
  }
  SharedClientRecord& client(std::uint32_t number) const noexcept {
    return reinterpret_cast<SharedClientRecord*>(base_ + clients_offset_)[number];
  }
  SharedShareCell& share(std::uint32_t number) const noexcept {
    return reinterpret_cast<SharedShareCell*>(base_ + shares_offset_)[number];
  }
  // Of the thread record of that number.
  SharedSampleBlock& samples(std::uint32_t thread) const noexcept {
    return reinterpret_cast<SharedSampleBlock*>(base_ + samples_offset_)[thread];
  }
  SharedMagazine& magazine(std::uint32_t pool_wide_number) const noexcept {
    return reinterpret_cast<SharedMagazine*>(base_ + magazines_offset_)[pool_wide_number];
  }
  SharedRingView ring(
      const RingDescriptor& descriptor) const noexcept;  // a client's, from a checked segment
  SharedRingView ring(std::uint32_t number, const RingPlan& plan) const noexcept;  // the daemon's

  std::byte* base() const noexcept { return base_; }

 private:
  SharedRingView ring_from(RingDescriptor& published,
                           const RingDescriptor& constants) const noexcept;

  std::byte* base_ = nullptr;
  std::uint32_t domain_count_ = 0;
  std::uint32_t thread_record_bytes_ = 0;
  std::uint64_t rings_offset_ = 0;
  std::uint64_t threads_offset_ = 0;
  std::uint64_t orders_offset_ = 0;
  std::uint64_t order_hints_offset_ = 0;
  std::uint64_t clients_offset_ = 0;
  std::uint64_t shares_offset_ = 0;
  std::uint64_t magazines_offset_ = 0;
  std::uint64_t slots_offset_ = 0;
  std::uint64_t samples_offset_ = 0;
};

}  // namespace zeropool::v1::lib
