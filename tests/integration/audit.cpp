// The audit that runs by itself: what a hostile client does to words and holes is found within seconds, while everybody
// goes on; what honest clients do is never taken for damage; a daemon with nothing to do does nothing.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
namespace lib = zeropool::lib;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr std::uint64_t kPage = 4096;

constexpr const char* kConfig = R"(budget: 96MiB
limits: {clients: 16, threads: 64}
pages: {size: [4KiB]}
pools:
  frames: {classes: [64KiB], limit: 64MiB}
)";

// What the segments of that kind occupy, by the daemon's descriptors.
std::uint64_t occupied(const DaemonProcess& daemon, const std::string& kind) {
  std::map<ino_t, std::uint64_t> segments;
  const std::string folder = "/proc/" + std::to_string(daemon.pid()) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    struct stat info {};
    if (target.rfind("/memfd:zeropool-frames-" + kind, 0) == 0 &&
        ::stat(entry.path().c_str(), &info) == 0) {
      segments[info.st_ino] = static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  std::uint64_t sum = 0;
  for (const auto& [inode, bytes] : segments) sum += bytes;
  return sum;
}

// Where a segment is mapped in this process.
struct MappedSegment {
  std::byte* begin = nullptr;
  std::byte* end = nullptr;
};
MappedSegment mapped(const std::string& kind) {
  MappedSegment segment;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:zeropool-frames-" + kind) == std::string::npos) continue;
    std::istringstream text(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    text >> std::hex >> begin >> dash >> end;
    if (segment.begin == nullptr) segment.begin = reinterpret_cast<std::byte*>(begin);
    segment.end = reinterpret_cast<std::byte*>(end);
  }
  expect(segment.begin != nullptr, "no segment is mapped");
  return segment;
}

std::uint64_t counter(const DaemonProcess& daemon, const char* name) {
  return daemon.pool()["counters"][name].get<std::uint64_t>();
}

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// Magazines of the ring, each with a few slots, made this client's: what it writes there meets nobody at work.
std::vector<std::uint32_t> claim_some(lib::SharedRingView& view, lib::OwnerWord me,
                                      std::size_t many) {
  lib::SharedBatchRing ring(view);
  std::vector<std::uint32_t> cells;
  for (std::uint32_t cell = 0; cell < view.cell_bound() && cells.size() < many; ++cell) {
    if (!ring.try_claim(cell, me)) continue;
    if (view.cells[cell].count.load() >= 4) {
      cells.push_back(cell);
    } else {
      ring.release(cell, me, 0);
    }
  }
  expect(cells.size() == many, "too few magazines with slots in the ring");
  return cells;
}

std::uint64_t switches(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("voluntary_ctxt_switches:", 0) == 0) return std::stoull(line.substr(24));
  }
  return 0;
}

}  // namespace

TEST_CASE(
    "touched holes are found, counted, told, and punched out, while the toucher is attached") {
  DaemonProcess daemon(kConfig);
  ChildProcess hostile([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    Buffer first = pool->get(kBytes);
    const SegmentView view;
    const MappedSegment data = mapped("node");
    const MappedSegment control = mapped("control");
    parent.await();
    // Reads at the end of the segment and writes in the middle of the region.
    for (std::uint64_t page = 1; page <= 100; ++page) {
      *reinterpret_cast<volatile const char*>(data.end - 2 * page * kPage);
    }
    std::byte* middle = first.data() + (std::uint64_t{48} << 20);
    for (std::uint64_t page = 0; page < 300; ++page) {
      *reinterpret_cast<volatile char*>(middle + page * kPage) = 1;
    }
    // The tables behind what is published, and the rest of the control segment.
    for (std::uint64_t page = 1; page <= 20; ++page) {
      *reinterpret_cast<volatile const char*>(control.end - page * kPage);
    }
    parent.signal();
    parent.await();
  });
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(eventually([&] { return counter(daemon, "audit_passes") >= 1; }));
  CHECK(counter(daemon, "punched_stray_bytes") == 0);
  const auto exact = [&] {
    return occupied(daemon, "node") ==
               static_cast<std::uint64_t>(daemon.metric("zeropool_committed_bytes")) &&
           occupied(daemon, "control") ==
               static_cast<std::uint64_t>(daemon.metric("zeropool_metadata_bytes"));
  };
  CHECK(exact());
  hostile.link().signal();
  hostile.link().await();
  CHECK(eventually([&] { return exact(); }, 3s));
  // More where the kernel gives tmpfs huge pages unasked.
  CHECK(eventually([&] { return counter(daemon, "punched_stray_bytes") >= 420 * kPage; }, 3s));
  CHECK(daemon.metric("zeropool_punched_stray_bytes_total") >= 420 * kPage);
  CHECK(eventually([&] { return daemon.metric("zeropool_stray_bytes") == 0; }));
  const std::string log = daemon.log();
  CHECK(times(log, "somebody touched memory that is not published") == 1);
  CHECK(log.find("pid " + std::to_string(hostile.pid())) != std::string::npos);
  hostile.link().signal();
  CHECK(hostile.wait().well());
  CHECK(hostile.failure() == "");
  CHECK(becomes_all_free(daemon));
  CHECK(counter(daemon, "repairs") == 0);
}

TEST_CASE("zeropoolctl audit punches strays out at once, and says so") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  Buffer first = pool->get(kBytes);
  REQUIRE(first);
  volatile char* hole = reinterpret_cast<volatile char*>(first.data() + (std::uint64_t{48} << 20));
  std::uint64_t told = 0;
  // The tick may come between the touch and the question: then it is there again.
  for (int i = 0; i < 5 && told == 0; ++i) {
    *hole = 1;
    told = daemon.ctl_json({"audit"})["pools"][0]["punched_stray_bytes"].get<std::uint64_t>();
  }
  CHECK(told == kPage);
  CHECK(daemon.ctl({"audit"}).exit_code == 0);
}

TEST_CASE(
    "damage in the ring is mended within seconds, told once, and another client keeps all it has") {
  DaemonProcess daemon(kConfig);
  ChildProcess honest([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held;
    for (std::uint64_t i = 0; i < 40; ++i) {
      held.push_back(pool->get(kBytes));
      expect(static_cast<bool>(held.back()), "no buffer");
      write_pattern(held.back(), i);
    }
    parent.signal();
    parent.await();
    const auto whole = [&] {
      for (std::uint64_t i = 0; i < held.size(); ++i) {
        expect(has_pattern(held[i], i), "somebody else has written into a held buffer");
      }
    };
    whole();
    for (int i = 0; i < 2000; ++i) {
      Buffer more = pool->get(kBytes);
      expect(static_cast<bool>(more), "no buffer after the damage was mended");
      write_pattern(more, 1000);
    }
    whole();
  });
  honest.link().await();
  ChildProcess hostile([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    // Some more than the honest one's are there, whole magazines of them, in the ring: a thread's cache ends with it.
    std::thread([&] {
      std::vector<Buffer> many;
      for (int i = 0; i < 160; ++i) many.push_back(pool->get(kBytes));
    }).join();
    const SegmentView segment;
    lib::SharedRingView view = segment.ring();
    // As the client that it is not, so that nobody's death gives the magazines back.
    const lib::OwnerWord me = lib::OwnerWord::thread(7777, 1, 1);
    const std::vector<std::uint32_t> cells = claim_some(view, me, 5);
    const auto slot = [&](std::size_t magazine, std::uint32_t entry) {
      return view.cells[cells[magazine]].slots[entry].load();
    };
    view.cells[cells[0]].count.store(0);  // its slots are lost
    view.cells[cells[1]].count.store(0xffffffff);
    view.cells[cells[2]].slots[0].store(0x7fffffff);  // no slot, and one lost
    view.cells[cells[3]].slots[1].store(slot(3, 0));  // twice, and one lost
    view.cells[cells[4]].slots[0].store(slot(3, 2));  // in two magazines, and one lost
    view.slots[slot(4, 1)].mark.store(lib::Mark::make(99, lib::SlotState::kHeld, 7777).word);
    view.slots[slot(4, 2)].mark.store(~std::uint64_t{0});
    lib::SharedBatchRing ring(view);
    for (const std::uint32_t cell : cells) ring.release(cell, me, 0);
    parent.signal();
    parent.await();
  });
  hostile.link().await();
  CHECK(eventually([&] { return daemon.ctl_json({"audit"})["clean"] == true; }, 10s));
  CHECK(daemon.audit()["held"] == 40);
  CHECK(counter(daemon, "repairs") >= 15);
  CHECK(daemon.metric("zeropool_repairs_total") == counter(daemon, "repairs"));
  CHECK(eventually([&] { return counter(daemon, "withheld") == 0; }));
  const std::string log = daemon.log();
  CHECK(times(log, "damage in shared memory") >= 3);
  for (const char* kind :
       {"counts beyond", "entries that name", "marks that name", "were in no magazine"}) {
    CAPTURE(kind);
    CHECK(times(log, kind) == 1);
  }
  honest.link().signal();
  CHECK(honest.wait().well());
  CHECK(honest.failure() == "");
  hostile.link().signal();
  CHECK(hostile.wait().well());
  CHECK(hostile.failure() == "");
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.ctl({"audit"}).exit_code == 0);
}

TEST_CASE(
    "what somebody may still use is withheld, and comes back when the clients of then have gone") {
  DaemonProcess daemon(kConfig);
  ChildProcess hostile([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    Buffer mine = pool->get(kBytes);
    Buffer other = pool->get(kBytes);
    const SegmentView segment;
    lib::SharedRingView view = segment.ring();
    std::uint32_t held = 0;
    for (std::uint32_t slot = 0; slot < view.slot_bound(); ++slot) {
      if (lib::Mark{view.slots[slot].mark.load()}.state() != lib::SlotState::kHeld || held++ > 0)
        continue;
      view.slots[slot].mark.store(lib::Mark::make(99, lib::SlotState::kHeld, 7777).word);
    }
    expect(held == 2, "not two held slots");
    claim_some(view, lib::OwnerWord::thread(7777, 1, 1), 1);
    parent.signal();
    parent.await();
    mine.reset();
    other.reset();
  });
  hostile.link().await();
  CHECK(eventually([&] { return counter(daemon, "withheld") == 2; }));
  CHECK(counter(daemon, "repairs") == 0);
  CHECK(daemon.ctl({"status"}).out.find("withheld") != std::string::npos);
  std::this_thread::sleep_for(2500ms);
  CHECK(counter(daemon, "withheld") == 2);
  CHECK(counter(daemon, "repairs") == 0);
  // One that came later does not hold it up.
  auto later = daemon.open("frames");
  REQUIRE(later);
  Buffer buffer = later->get(kBytes);
  REQUIRE(buffer);
  hostile.link().signal();
  CHECK(hostile.wait().well());
  CHECK(hostile.failure() == "");
  CHECK(eventually([&] { return counter(daemon, "withheld") == 0; }));
  CHECK(counter(daemon, "repairs") == 2);
  CHECK(daemon.ctl_json({"audit"})["clean"] == true);
  CHECK(daemon.audit()["held"] == 1);
}

TEST_CASE("clients at work, with hand-offs, growth and trims, are never taken for damage") {
  DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (std::uint64_t number = 0; number < 3; ++number) {
    clients.push_back(std::make_unique<ChildProcess>([&daemon, number](Link&) {
      auto pool = daemon.open("frames");
      expect(static_cast<bool>(pool), pool.error().sentence);
      Random random(number + 1);
      std::vector<Buffer> held;
      const auto end = std::chrono::steady_clock::now() + 5s;
      while (std::chrono::steady_clock::now() < end) {
        if (random.below(100) < 52 && held.size() < 200) {
          Buffer buffer = pool->get(kBytes, 100ms);
          if (buffer) held.push_back(std::move(buffer));
        } else if (!held.empty()) {
          std::swap(held[random.below(held.size())], held.back());
          if (random.below(4) == 0) {
            const Handle handle = std::move(held.back()).release();
            Buffer again = pool->adopt(handle);
            expect(static_cast<bool>(again), "a hand-off was lost");
          }
          held.pop_back();
        }
      }
    }));
  }
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(500ms);
    daemon.ctl({"trim"});
  }
  for (auto& client : clients) {
    CHECK(client->wait().well());
    CHECK(client->failure() == "");
  }
  CHECK(counter(daemon, "audit_passes") >= 3);
  CHECK(counter(daemon, "repairs") == 0);
  CHECK(counter(daemon, "withheld") == 0);
  CHECK(counter(daemon, "punched_stray_bytes") == 0);
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.log().find("damage") == std::string::npos);
}

TEST_CASE("a daemon whose clients have left makes one more pass, and no wake-up after it") {
  DaemonProcess daemon(kConfig);
  {
    auto pool = daemon.open("frames");
    REQUIRE(pool);
    CHECK(static_cast<bool>(pool->get(kBytes)));
  }
  const std::uint64_t before = counter(daemon, "audit_passes");
  CHECK(eventually([&] { return counter(daemon, "audit_passes") > before; }));
  std::this_thread::sleep_for(1500ms);  // whatever else was under way
  const std::uint64_t passes = counter(daemon, "audit_passes");
  std::this_thread::sleep_for(200ms);
  const std::uint64_t quiet = switches(daemon.pid());
  REQUIRE(quiet > 0);
  std::this_thread::sleep_for(10s);
  CHECK(switches(daemon.pid()) == quiet);
  CHECK(counter(daemon, "audit_passes") == passes);
}
