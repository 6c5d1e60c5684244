// Buffers that go round by hand between one producer and one consumer: the best order of reuse, and no pool at all. Variant:
// fifo:MIB (oldest first, over so much memory) or stack:MIB (last returned first).

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <string>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

class ByHand {
 public:
  static constexpr Traits kTraits{.processes = true, .only_pipeline = true};
  explicit ByHand(const Options& options)
      : back_(shared<Back>()),
        bytes_(options.bytes),
        last_first_(options.variant.starts_with("stack:")) {
    const auto mib =
        std::strtoull(options.variant.c_str() + options.variant.find(':') + 1, nullptr, 10);
    // The distance is what lies free while the rest is on the way.
    count_ = static_cast<std::uint32_t>((mib << 20) / bytes_ + kOnTheWay + 1);
    if (mib == 0 || count_ > kMost) fail("variant: fifo:MIB or stack:MIB");
    memory_ = static_cast<std::byte*>(map_shared(count_ * bytes_));
  }

  class Local {
   public:
    using Item = std::uint32_t;
    explicit Local(ByHand& all, Ends ends = {}) : all_(all) {
      for (std::uint32_t i = 0; ends.gives >= 0 && i < all.count_; ++i) free_.push_back(i);
    }
    bool get(std::size_t, Item& item) {
      const std::uint64_t returned = all_.back_.returned.load(std::memory_order_acquire);
      for (; seen_ < returned; ++seen_) free_.push_back(all_.back_.numbers[seen_ % kMost]);
      if (free_.empty()) return false;
      if (all_.last_first_) {
        item = free_.back();
        free_.pop_back();
      } else {
        item = free_.front();
        free_.pop_front();
      }
      return true;
    }
    void put(Item& item) {
      const std::uint64_t at = all_.back_.returned.load(std::memory_order_relaxed);
      all_.back_.numbers[at % kMost] = item;
      all_.back_.returned.store(at + 1, std::memory_order_release);
    }
    std::byte* data(Item& item) { return all_.memory_ + item * all_.bytes_; }
    Parcel give(Item& item) { return {{item}}; }
    bool take(const Parcel& parcel, Item& item) {
      item = static_cast<Item>(parcel.words[0]);
      return true;
    }

   private:
    ByHand& all_;
    std::uint64_t seen_ = 0;
    std::deque<std::uint32_t> free_;  // the producer's
  };

 private:
  static constexpr std::uint32_t kMost = 1 << 16;
  struct Back {
    alignas(64) std::atomic<std::uint64_t> returned{0};
    std::array<std::uint32_t, kMost> numbers{};
  };
  Back& back_;
  std::byte* memory_ = nullptr;
  std::uint32_t count_ = 0;
  std::size_t bytes_;
  bool last_first_;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::ByHand>(zeropool_bench::read_options(argc, argv));
}
