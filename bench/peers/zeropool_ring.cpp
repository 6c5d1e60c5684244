// The batch ring of zeropool alone, as the library's slow path uses it: a magazine is claimed, its slot numbers are read, they
// are written back, the magazine is released. What a thread with no cache at all would do, many times a second.

#include <atomic>

#include "bench/works/ring_in_memory.hpp"
#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

class Ring {
 public:
  static constexpr Traits kTraits{.processes = true, .batches = true, .only_batches = true};
  explicit Ring(const Options&)
      : view_(make_ring<std::atomic>({.magazine_slots = kContendedBatch})),
        next_(shared<std::atomic<std::uint32_t>>()) {}

  class Local {
   public:
    using Item = std::uint32_t;  // a slot's number
    explicit Local(Ring& all, Ends = {})
        : ring_(all.view_), me_(lib::OwnerWord::thread(1 + all.next_.fetch_add(1), 0, 1)) {}
    std::size_t get_batch(std::size_t, std::span<Item> items) {
      if (items.size() != kContendedBatch) fail("the ring gives whole magazines");
      cell_ = ring_.claim_filled(0, me_, stats_);
      if (cell_ == lib::kNone) return 0;
      const auto& slots = ring_.view().cells[cell_].slots;
      for (std::size_t i = 0; i < items.size(); ++i) {
        items[i] = slots[i].load(std::memory_order_relaxed);
      }
      return items.size();
    }
    void put_batch(std::span<Item> items) {
      auto& slots = ring_.view().cells[cell_].slots;
      for (std::size_t i = 0; i < items.size(); ++i) {
        slots[i].store(items[i], std::memory_order_relaxed);
      }
      if (!ring_.release(cell_, me_, 0)) fail("the magazine was not mine");
    }

   private:
    lib::BatchRing<std::atomic> ring_;
    lib::OwnerWord me_;
    lib::ClaimStats stats_;
    std::uint32_t cell_ = lib::kNone;
  };

 private:
  lib::RingView<std::atomic> view_;
  std::atomic<std::uint32_t>& next_;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::Ring>(zeropool_bench::read_options(argc, argv));
}
