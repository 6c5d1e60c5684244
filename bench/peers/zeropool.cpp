// zeropool through its C++ interface. Variant: the pool's name; with "+filled" behind it every buffer of the pool is got and
// written once before anything is measured.

#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

using namespace std::chrono_literals;

class Zeropool {
 public:
  static constexpr Traits kTraits{.processes = true, .batches = true};

  explicit Zeropool(const Options& options) : name_(options.variant) {
    const std::string filled = "+filled";
    if (!name_.ends_with(filled)) return;
    name_.resize(name_.size() - filled.size());
    zeropool::Pool pool = open();
    std::vector<zeropool::Buffer> all;
    for (;;) {
      zeropool::Buffer buffer = pool.get(options.bytes, 200ms);
      if (!buffer) break;
      std::memset(buffer.data(), 1, buffer.size());
      all.push_back(std::move(buffer));
    }
  }
  zeropool::Pool open() const {
    auto opened = zeropool::Pool::open(name_);
    if (!opened) fail(opened.error().sentence);
    return std::move(*opened);
  }

  class Local {
   public:
    using Item = zeropool::Buffer;
    explicit Local(Zeropool& pool, Ends = {}) : pool_(pool.open()) {}
    bool get(std::size_t bytes, Item& item) {
      item = pool_.get(bytes);
      return static_cast<bool>(item);
    }
    void put(Item& item) { item.reset(); }
    std::byte* data(Item& item) { return item.data(); }
    std::size_t get_batch(std::size_t bytes, std::span<Item> items) {
      return pool_.get_batch(bytes, items);
    }
    void put_batch(std::span<Item> items) { pool_.put_batch(items); }
    Parcel give(Item& item) {
      const zeropool::Handle handle = std::move(item).release();
      Parcel parcel;
      static_assert(sizeof(handle) <= sizeof(parcel.words));
      std::memcpy(parcel.words, &handle, sizeof(handle));
      return parcel;
    }
    bool take(const Parcel& parcel, Item& item) {
      zeropool::Handle handle;
      std::memcpy(&handle, parcel.words, sizeof(handle));
      item = pool_.adopt(handle);
      if (!item) fail(item.error().sentence);
      return true;
    }

   private:
    zeropool::Pool pool_;
  };

 private:
  std::string name_;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::Zeropool>(zeropool_bench::read_options(argc, argv));
}
