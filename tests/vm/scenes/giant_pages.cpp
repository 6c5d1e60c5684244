// 1 GiB pages, reserved at boot on both nodes of topology giant.

#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace zeropool::testing;
using namespace zeropool::vm;
using zeropool::Buffer;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kGiB = 1 << 30;

}  // namespace

TEST_CASE("1 GiB pages lie on the node of the thread that gets them") {
  for (const Node& node : nodes_with(true, true)) REQUIRE(free_hugepages(node.id, kGiB) == 1);
  DaemonProcess daemon("budget: 3GiB\npools: {frames: {pages: {size: [1GiB]}, classes: [1MiB]}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const Node& node : nodes_with(true, true)) {
    std::thread([&] {
      run_on(node);
      std::vector<Buffer> held;
      for (int i = 0; i < 48; ++i) {
        held.push_back(pool->get(kMiB));
        REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
        CHECK(held.back().node() == node.id);
        CHECK(all_on(where_pages_are(held.back().data(), kMiB), node.id));
      }
    }).join();
    const std::vector<std::string> labels = {"node=\"" + std::to_string(node.id) + "\"",
                                             "page_size=\"1GiB\""};
    CHECK(daemon.metric("zeropool_committed_bytes", labels) == kGiB);
    CHECK(free_hugepages(node.id, kGiB) == 0);
  }
  CHECK(daemon.metric("zeropool_page_fallbacks_total") == 0);
  CHECK(daemon.metric("zeropool_misplaced_bytes") == 0);
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
  *pool = zeropool::Pool();  // its mappings would keep them
  CHECK(daemon.stop().well());
  for (const Node& node : nodes_with(true, true)) CHECK(free_hugepages(node.id, kGiB) == 1);
}
