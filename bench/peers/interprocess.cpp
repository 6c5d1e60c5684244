// Boost.Interprocess. Variant: segment (allocate and deallocate of a managed_shared_memory, any size), node (node_allocator)
// or cached (cached_node_allocator, a cache for each end): one size each.

#include <cstddef>
#include <string>
#include <unistd.h>

#include <boost/interprocess/allocators/cached_node_allocator.hpp>
#include <boost/interprocess/allocators/node_allocator.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

namespace ipc = boost::interprocess;
using Manager = ipc::managed_shared_memory::segment_manager;

// Sparse: only what is used becomes memory. Its name is gone at once; children inherit the mapping.
ipc::managed_shared_memory make_segment() {
  const std::string name = "zeropool-bench-" + std::to_string(::getpid());
  ipc::managed_shared_memory segment(ipc::create_only, name.c_str(), std::size_t{1} << 30);
  ipc::shared_memory_object::remove(name.c_str());
  return segment;
}

// What all variants share: a buffer is a pointer, handed on as its handle in the segment.
class Ended {
 public:
  using Item = void*;
  explicit Ended(ipc::managed_shared_memory& segment) : segment_(segment) {}
  std::byte* data(Item& item) { return static_cast<std::byte*>(item); }
  Parcel give(Item& item) {
    return {{static_cast<std::uint64_t>(segment_.get_handle_from_address(item))}};
  }
  bool take(const Parcel& parcel, Item& item) {
    item = segment_.get_address_from_handle(
        static_cast<ipc::managed_shared_memory::handle_t>(parcel.words[0]));
    return true;
  }

 protected:
  ipc::managed_shared_memory& segment_;
};

class Segment {
 public:
  static constexpr Traits kTraits{.processes = true};
  explicit Segment(const Options&) : segment_(make_segment()) {}

  class Local : public Ended {
   public:
    explicit Local(Segment& all, Ends = {}) : Ended(all.segment_) {}
    bool get(std::size_t bytes, Item& item) {
      item = segment_.allocate(bytes, std::nothrow);
      return item != nullptr;
    }
    void put(Item& item) { segment_.deallocate(item); }
  };

 private:
  ipc::managed_shared_memory segment_;
};

template <std::size_t kBytes>
struct Block {
  std::byte bytes[kBytes];
};

template <typename Allocator>
class Nodes {
 public:
  static constexpr Traits kTraits{.processes = true};
  explicit Nodes(const Options& options)
      : segment_(make_segment()), first_(segment_.get_segment_manager()) {
    if (options.work == "mixed") impossible("one size only");
  }

  class Local : public Ended {
   public:
    explicit Local(Nodes& all, Ends = {})
        : Ended(all.segment_), nodes_(all.segment_.get_segment_manager()) {}
    bool get(std::size_t, Item& item) {
      item = &*nodes_.allocate_one();
      return true;
    }
    void put(Item& item) {
      nodes_.deallocate_one(static_cast<typename Allocator::value_type*>(item));
    }

   private:
    Allocator nodes_;
  };

 private:
  ipc::managed_shared_memory segment_;
  Allocator first_;  // keeps the node pool while the others come and go
};

template <std::size_t kBytes>
int run_nodes(const Options& options) {
  if (options.variant == "cached") {
    return run<Nodes<ipc::cached_node_allocator<Block<kBytes>, Manager>>>(options);
  }
  return run<Nodes<ipc::node_allocator<Block<kBytes>, Manager>>>(options);
}

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  using namespace zeropool_bench;
  const Options options = read_options(argc, argv);
  if (options.variant == "segment") return run<Segment>(options);
  switch (options.bytes) {
    case 4096: return run_nodes<4096>(options);
    case 65536: return run_nodes<65536>(options);
    case 1048576: return run_nodes<1048576>(options);
    default: impossible("node pools are compiled for 4 KiB, 64 KiB and 1 MiB");
  }
}
