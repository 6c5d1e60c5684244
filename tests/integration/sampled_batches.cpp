// A batch's samples are taken when its operation is over: a thread that walks its stack owns nothing half-way. Seen by the
// unwinder's own question to the C library, which this program answers instead.

#include <cstdint>
#include <dlfcn.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
namespace lib = zeropool::lib;
using zeropool::Buffer;
using zeropool::Pool;

namespace {

// What the calling thread's walks have seen.
struct Walks {
  const lib::ControlView* control = nullptr;  // none: they are not looked at
  std::uint64_t looks = 0;
  std::uint64_t busy = 0;  // looks while some thread was busy
};
thread_local Walks walks;

}  // namespace

extern "C" [[gnu::visibility("default")]] int _dl_find_object(void* pc,
                                                              dl_find_object* result) noexcept {
  using Find = int (*)(void*, dl_find_object*);
  static const Find find = reinterpret_cast<Find>(::dlsym(RTLD_NEXT, "_dl_find_object"));
  if (walks.control != nullptr) {
    ++walks.looks;
    const std::uint32_t records = walks.control->header().threads_published.load();
    for (std::uint32_t n = 0; n < records; ++n) {
      if (walks.control->thread(n).busy.load() == 0) continue;
      ++walks.busy;
      break;
    }
  }
  return find(pc, result);
}

TEST_CASE("a thread that walks its stack for a batch's samples is not busy") {
  const DaemonProcess daemon(
      "budget: 64MiB\npages: {size: [4KiB]}\npools:\n  frames: {classes: [4KiB]}\n");
  zeropool::OpenOptions options = daemon.options();
  options.sample_gets = 1;
  Pool pool = Pool::open("frames", options).value();
  CHECK(pool.get(4096));
  const SegmentView segment;
  REQUIRE(eventually([&] { return segment.control().header().samples_published.load() > 0; }, 60s));
  lib::ControlView control = segment.control();
  const auto watched = [&](const auto& get) {
    walks = {&control, 0, 0};
    get();
    const Walks seen = walks;
    walks = {};
    CHECK(seen.looks > 0);  // it was sampled
    CHECK(seen.busy == 0);
  };
  SUBCASE("what comes without waiting") {
    std::vector<Buffer> buffers(40);
    watched([&] { CHECK(pool.get_batch(4096, buffers) == buffers.size()); });
  }
  SUBCASE("a batch of all or nothing, by an order where need be") {
    const std::vector<std::size_t> sizes(2000, 4096);  // more than a new pool has ready
    watched([&] {
      const zeropool::Batch batch = pool.get_batch(sizes);
      CHECK(static_cast<bool>(batch));
    });
  }
}
