// malloc and free: glibc's, or those of the allocator that is preloaded. Between threads, as they know no other process.

#include <cstdlib>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

class Malloc {
 public:
  static constexpr Traits kTraits{};
  explicit Malloc(const Options&) {}

  class Local {
   public:
    using Item = void*;
    explicit Local(Malloc&, Ends = {}) {}
    bool get(std::size_t bytes, Item& item) {
      item = std::malloc(bytes);
      return item != nullptr;
    }
    void put(Item& item) { std::free(item); }
    std::byte* data(Item& item) { return static_cast<std::byte*>(item); }
    Parcel give(Item& item) { return {{reinterpret_cast<std::uint64_t>(item)}}; }
    bool take(const Parcel& parcel, Item& item) {
      item = reinterpret_cast<void*>(parcel.words[0]);
      return true;
    }
  };
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::Malloc>(zeropool_bench::read_options(argc, argv));
}
