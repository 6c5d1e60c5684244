// zeropool through its C functions, none of them inlined. Variant: the pool's name.

#include <cstring>

#include <zeropool.h>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

class ZeropoolC {
 public:
  static constexpr Traits kTraits{.processes = true, .batches = true};
  explicit ZeropoolC(const Options& options) : name_(options.variant) {}

  class Local {
   public:
    using Item = zp_buffer;
    explicit Local(ZeropoolC& pool, Ends = {}) {
      zp_open_options options{};
      options.struct_bytes = sizeof(options);
      options.fd = -1;
      if (zp_open(pool.name_.c_str(), &options, &pool_) != 0) fail(zp_last_error());
    }
    ~Local() { zp_close(pool_); }
    Local(const Local&) = delete;
    Local& operator=(const Local&) = delete;
    bool get(std::size_t bytes, Item& item) { return zp_get(pool_, bytes, &item) == 0; }
    void put(Item& item) { zp_put(&item); }
    std::byte* data(Item& item) { return static_cast<std::byte*>(item.data); }
    std::size_t get_batch(std::size_t bytes, std::span<Item> items) {
      return zp_get_many(pool_, bytes, items.size(), items.data());
    }
    void put_batch(std::span<Item> items) { zp_put_batch(items.data(), items.size()); }
    Parcel give(Item& item) {
      zp_handle handle{};
      if (zp_release(&item, 0, &handle) != 0) fail(zp_last_error());
      Parcel parcel;
      std::memcpy(parcel.words, &handle, sizeof(handle));
      return parcel;
    }
    bool take(const Parcel& parcel, Item& item) {
      zp_handle handle;
      std::memcpy(&handle, parcel.words, sizeof(handle));
      if (zp_adopt(pool_, handle, &item) != 0) fail(zp_last_error());
      return true;
    }

   private:
    zp_pool* pool_ = nullptr;
  };

 private:
  std::string name_;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::ZeropoolC>(zeropool_bench::read_options(argc, argv));
}
