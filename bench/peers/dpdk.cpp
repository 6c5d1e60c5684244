// DPDK's mempool: fixed-size objects, a ring of free ones, a cache in front of it for each thread. Used as its documentation
// says for threads and processes that EAL did not start: a user-owned cache for each. The pool is made before the fork, in
// memory that both processes share.
//
// Variant: words from cached (the default sizes), tuned (few objects, so that all of them fit the CPU's caches), ring (no
// cache); and plain (ordinary pages) or huge.

#include <array>
#include <atomic>
#include <bit>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <string>
#include <vector>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

struct Shape {
  unsigned objects;
  unsigned cache;  // 0: none
};

// The documentation: best are 2^q - 1 objects; a cache at most 512, at most objects / 1.5.
Shape shape_of(std::size_t bytes, bool tuned, bool cached) {
  Shape shape{};
  if (bytes <= 65536) {
    shape = tuned ? Shape{255, 128} : Shape{4095, 256};
  } else if (bytes <= 1048576) {
    shape = tuned ? Shape{31, 16} : Shape{511, 64};
  } else {
    shape = tuned ? Shape{31, 16} : Shape{127, 32};
  }
  if (!cached) shape.cache = 0;
  return shape;
}

constexpr unsigned kMostLocals = 64;

// One pool of one size; or, for mixed sizes, a pool for each class, chosen by the size.
template <bool kMixed>
class Dpdk {
 public:
  static constexpr Traits kTraits{.processes = true, .batches = true};

  explicit Dpdk(const Options& options) : next_(shared<std::atomic<unsigned>>()) {
    const auto has = [&options](const char* word) {
      return options.variant.find(word) != std::string::npos;
    };
    std::vector<std::size_t> sizes = {options.bytes};
    if (kMixed) sizes.assign(kClasses.begin(), kClasses.end());
    std::vector<Shape> shapes;
    std::size_t total = 0;
    for (const std::size_t bytes : sizes) {
      shapes.push_back(kMixed ? Shape{511, has("ring") ? 0U : 64U}
                              : shape_of(bytes, has("tuned"), !has("ring")));
      total += (bytes + 256) * shapes.back().objects;
    }
    start_eal(options, has("plain"), total / (1U << 20) + 64);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::string name = "bench" + std::to_string(i);
      rte_mempool* pool =
          rte_mempool_create(name.c_str(), shapes[i].objects, static_cast<unsigned>(sizes[i]), 0, 0,
                             nullptr, nullptr, nullptr, nullptr, SOCKET_ID_ANY, 0);
      if (pool == nullptr) {
        fail("no pool of " + std::to_string(shapes[i].objects) + " objects of " +
             std::to_string(sizes[i]) + " bytes: " + rte_strerror(rte_errno));
      }
      pools_.push_back(pool);
      // Made here: after the fork the allocator's own state is no longer shared.
      caches_.emplace_back();
      for (unsigned n = 0; n < locals(options) && shapes[i].cache > 0; ++n) {
        caches_.back().push_back(rte_mempool_cache_create(shapes[i].cache, SOCKET_ID_ANY));
        if (caches_.back().back() == nullptr) fail("no memory for a cache");
      }
    }
  }
  Dpdk(const Dpdk&) = delete;
  Dpdk& operator=(const Dpdk&) = delete;

  class Local {
   public:
    struct Item {
      void* object;
      std::uint32_t pool;
    };
    explicit Local(Dpdk& all, Ends = {}) {
      const unsigned number = all.next_.fetch_add(1);
      for (std::size_t i = 0; i < all.pools_.size(); ++i) {
        pools_[i] = all.pools_[i];
        const auto& caches = all.caches_[i];
        if (!caches.empty() && number >= caches.size()) fail("more ends than caches");
        caches_[i] = caches.empty() ? nullptr : caches[number];
      }
    }
    bool get(std::size_t bytes, Item& item) {
      item.pool = pool_for(bytes);
      return rte_mempool_generic_get(pools_[item.pool], &item.object, 1, caches_[item.pool]) == 0;
    }
    void put(Item& item) {
      const std::uint32_t pool = kMixed ? item.pool : 0;
      rte_mempool_generic_put(pools_[pool], &item.object, 1, caches_[pool]);
    }
    std::byte* data(Item& item) { return static_cast<std::byte*>(item.object); }
    // All or none; at most 64.
    std::size_t get_batch(std::size_t bytes, std::span<Item> items) {
      const std::uint32_t pool = pool_for(bytes);
      const auto count = static_cast<unsigned>(items.size());
      if (rte_mempool_generic_get(pools_[pool], objects_.data(), count, caches_[pool]) != 0)
        return 0;
      for (unsigned i = 0; i < count; ++i) items[i] = {objects_[i], pool};
      return count;
    }
    void put_batch(std::span<Item> items) {
      const std::uint32_t pool = kMixed ? items[0].pool : 0;
      for (std::size_t i = 0; i < items.size(); ++i) objects_[i] = items[i].object;
      rte_mempool_generic_put(pools_[pool], objects_.data(), static_cast<unsigned>(items.size()),
                              caches_[pool]);
    }
    Parcel give(Item& item) { return {{reinterpret_cast<std::uint64_t>(item.object)}}; }
    bool take(const Parcel& parcel, Item& item) {
      item = {reinterpret_cast<void*>(parcel.words[0]), 0};
      return true;
    }

   private:
    static std::uint32_t pool_for(std::size_t bytes) {
      if (!kMixed) return 0;
      const auto width = static_cast<std::uint32_t>(std::bit_width(bytes - 1));
      return width <= 12 ? 0 : (width - 11) / 2;
    }
    std::array<rte_mempool*, kClasses.size()> pools_{};
    std::array<rte_mempool_cache*, kClasses.size()> caches_{};
    std::array<void*, kMany> objects_{};
  };

 private:
  static unsigned locals(const Options& options) {
    const std::size_t ends = options.cpus.size() < 4 ? 4 : options.cpus.size();
    return ends < kMostLocals ? static_cast<unsigned>(ends) : kMostLocals;
  }
  static void start_eal(const Options& options, bool plain, std::size_t mib) {
    std::vector<std::string> words = {"bench",
                                      "--no-pci",
                                      "--no-telemetry",
                                      "--iova-mode=va",
                                      "--log-level=lib.*:error",
                                      "-l",
                                      std::to_string(options.cpus[0])};
    if (plain) {
      words.insert(words.end(), {"--no-shconf", "--no-huge", "-m", std::to_string(mib)});
    } else {
      words.emplace_back("--in-memory");
    }
    std::vector<char*> pointers;
    pointers.reserve(words.size());
    for (std::string& word : words) pointers.push_back(word.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
      fail(std::string("rte_eal_init: ") + rte_strerror(rte_errno));
    }
  }

  std::atomic<unsigned>& next_;  // which caches are in use
  std::vector<rte_mempool*> pools_;
  std::vector<std::vector<rte_mempool_cache*>> caches_;  // by pool and end
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  using namespace zeropool_bench;
  const Options options = read_options(argc, argv);
  return options.work == "mixed" ? run<Dpdk<true>>(options) : run<Dpdk<false>>(options);
}
