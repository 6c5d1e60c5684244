// boost::lockfree: free buffers by number in a queue (variant queue:MIB) or a stack (stack:MIB) of fixed capacity, in memory
// that processes share; MIB of buffers in all.

#include <cstdlib>
#include <string>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/stack.hpp>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

constexpr std::size_t kCapacity = 32768;
using Queue = boost::lockfree::queue<std::uint32_t, boost::lockfree::capacity<kCapacity>>;
using Stack = boost::lockfree::stack<std::uint32_t, boost::lockfree::capacity<kCapacity>>;

template <typename Free>
class Lockfree {
 public:
  static constexpr Traits kTraits{.processes = true};
  explicit Lockfree(const Options& options) : free_(shared<Free>()), bytes_(options.bytes) {
    if (options.work == "mixed") impossible("one size only");
    const auto mib =
        std::strtoull(options.variant.c_str() + options.variant.find(':') + 1, nullptr, 10);
    const std::size_t wanted = (mib << 20) / bytes_;
    const std::size_t count = wanted < kCapacity ? wanted : kCapacity;
    if (count == 0) fail("variant: queue:MIB or stack:MIB");
    memory_ = static_cast<std::byte*>(map_shared(count * bytes_));
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!free_.push(i)) fail("boost::lockfree took no more");
    }
  }

  class Local {
   public:
    using Item = std::uint32_t;
    explicit Local(Lockfree& all, Ends = {})
        : free_(all.free_), memory_(all.memory_), bytes_(all.bytes_) {}
    bool get(std::size_t, Item& item) { return free_.pop(item); }
    void put(Item& item) { free_.push(item); }
    std::byte* data(Item& item) { return memory_ + item * bytes_; }
    Parcel give(Item& item) { return {{item}}; }
    bool take(const Parcel& parcel, Item& item) {
      item = static_cast<Item>(parcel.words[0]);
      return true;
    }

   private:
    Free& free_;
    std::byte* memory_;
    std::size_t bytes_;
  };

 private:
  Free& free_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  using namespace zeropool_bench;
  const Options options = read_options(argc, argv);
  return options.variant.starts_with("stack:") ? run<Lockfree<Stack>>(options)
                                               : run<Lockfree<Queue>>(options);
}
