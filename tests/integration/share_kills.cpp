// One buffer in sixteen processes, any of which may be killed at any moment, and so may the daemon.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;
using zeropool::SharedBuffer;

namespace {

constexpr std::size_t kReaders = 16;
constexpr std::size_t kBytes = 64 * 1024;
constexpr const char* kConfig = R"(budget: 32MiB
metrics: {listen: []}
pools:
  frames:
    classes: [64KiB]
    wait: {timeout: 5s}
    handoff: {lease: 300ms}
)";

// What all of them write and look at.
struct Board {
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> read{0};
  std::atomic<std::uint64_t> passed_on{0};
  std::atomic<std::uint64_t> broken{0};
};
Board& board() {
  static auto* the_board = [] {
    void* memory =
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect(memory != MAP_FAILED, "mmap");
    return ::new (memory) Board();
  }();
  return *the_board;
}

// Handles on their way: packets, so that a reader killed in the middle takes a whole one with it or none.
struct Mailbox {
  Mailbox() {
    if (::pipe2(ends, O_NONBLOCK | O_DIRECT | O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  }
  ~Mailbox() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  bool send(const Handle& handle) const {
    return ::write(ends[1], &handle, sizeof(handle)) == sizeof(handle);
  }
  bool receive(Handle& handle) const {
    return ::read(ends[0], &handle, sizeof(handle)) == sizeof(handle);
  }
  int ends[2];
};

// Each word of a buffer is its first one plus where it stands.
void write_words(Buffer& buffer, std::uint64_t first) {
  auto* words = buffer.as<std::uint64_t>();
  for (std::size_t i = 0; i < buffer.size() / 8; i += 64) words[i] = first + i;
}
bool has_words(const SharedBuffer& shared) {
  const auto* words = shared.as<std::uint64_t>();
  for (std::size_t i = 0; i < shared.size() / 8; i += 64) {
    if (words[i] != words[0] + i) return false;
  }
  return true;
}

Pool open_or_throw(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// Adopts what comes, reads it, passes it on, copies it, and drops it, until it is killed or all is over.
void read_on(const DaemonProcess& daemon, const Mailbox& mailbox, std::uint64_t seed) {
  Pool pool = open_or_throw(daemon);
  Random random(seed);
  std::vector<SharedBuffer> kept;
  while (!board().over.load()) {
    Handle handle;
    if (mailbox.receive(handle)) {
      SharedBuffer shared = pool.adopt_shared(handle);
      if (shared) {
        if (!has_words(shared)) board().broken.fetch_add(1);
        board().read.fetch_add(1);
        if (random.below(4) == 0 && mailbox.send(shared.handle())) board().passed_on.fetch_add(1);
        kept.push_back(random.below(8) == 0 ? shared : std::move(shared));
      }
    } else {
      std::this_thread::sleep_for(200us);
    }
    if (kept.size() > 4 || random.below(3) == 0) {
      for (const SharedBuffer& shared : kept) {
        if (shared && !has_words(shared)) board().broken.fetch_add(1);
      }
      kept.clear();
    }
  }
}

// Shares one buffer after the other with all readers, kills some of them all the while, and the daemon every so often.
void fan_out(bool kill_daemon, std::chrono::seconds time, std::uint64_t seed) {
  board().over.store(false);
  board().read.store(0);
  board().passed_on.store(0);
  board().broken.store(0);
  DaemonProcess daemon(kConfig);
  Mailbox mailbox;
  Random random(seed);
  std::vector<std::unique_ptr<ChildProcess>> readers(kReaders);
  const auto start = [&](std::size_t r) {
    const std::uint64_t its_seed = random();
    readers[r] = std::make_unique<ChildProcess>(
        [&, its_seed](Link&) { read_on(daemon, mailbox, its_seed); });
  };
  for (std::size_t r = 0; r < kReaders; ++r) start(r);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::uint64_t kills = 0;
  std::uint64_t daemon_kills = 0;
  std::uint64_t shares = 0;
  const auto until = std::chrono::steady_clock::now() + time;
  auto next_daemon_kill = std::chrono::steady_clock::now() + 300ms;
  while (std::chrono::steady_clock::now() < until) {
    Buffer buffer = pool->get(kBytes, 5s);
    REQUIRE_MESSAGE(buffer, buffer.error().sentence);
    write_words(buffer, random());
    SharedBuffer shared = std::move(buffer).share();
    REQUIRE_MESSAGE(shared, shared.error().sentence);
    ++shares;
    const Handle handle = shared.handle(kReaders);
    for (std::size_t i = 0; i < kReaders; ++i) mailbox.send(handle);
    if (random.below(2) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(2000)));
    if (!has_words(shared)) board().broken.fetch_add(1);
    shared.reset();
    if (random.below(4) == 0) {
      const std::size_t victim = random.below(kReaders);
      readers[victim]->kill();
      ++kills;
      start(victim);
    }
    if (kill_daemon && std::chrono::steady_clock::now() > next_daemon_kill) {
      daemon.kill9();
      // Some die while no daemon is there to see it.
      const std::size_t victim = random.below(kReaders);
      readers[victim]->kill();
      ++kills;
      daemon.start_again();
      ++daemon_kills;
      start(victim);
      next_daemon_kill = std::chrono::steady_clock::now() + 300ms;
    }
  }
  board().over.store(true);
  for (auto& reader : readers) {
    CHECK(reader->wait().well());
    CHECK(reader->failure() == "");
  }
  MESSAGE(shares << " shares, " << board().read.load() << " adoptions, " << board().passed_on.load()
                 << " handed on by readers, " << kills << " readers killed, " << daemon_kills
                 << " daemons killed");
  CHECK(board().broken.load() == 0);
  CHECK(board().read.load() > 100);
  CHECK(kills > 10);
  CHECK((daemon_kills > 2) == kill_daemon);
  pool = daemon.open();
  REQUIRE(pool);
  CHECK(eventually([&] { return daemon.audit()["shared"] == 0; }, 30s));
  const auto audit = daemon.audit();
  for (const char* count : {"lost", "doubled", "broken", "held", "in_transit", "orphaned"})
    CHECK_MESSAGE(audit[count] == 0, count << " " << audit.dump());
  // Every slot can be had: nothing is stuck in a share.
  std::vector<Buffer> all;
  for (;;) {
    Buffer buffer = pool->get(kBytes, 100ms);
    if (!buffer) break;
    all.push_back(std::move(buffer));
  }
  CHECK(all.size() * kBytes > 24 << 20);
  const auto taken = daemon.audit();
  CHECK_MESSAGE(taken["free"].get<std::uint64_t>() + taken["shared"].get<std::uint64_t>() == 0,
                taken.dump());
}

}  // namespace

TEST_CASE("of sixteen readers of one buffer any may be killed at any moment: it comes back once") {
  fan_out(false, 4s, 1);
}

TEST_CASE("readers and daemons killed at any moment: every shared buffer comes back once") {
  fan_out(true, 8s, 2);
}

TEST_CASE(
    "all sixteen holders killed at once, the daemon first: the next daemon gives the buffer back") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(kBytes);
  write_words(buffer, 5);
  SharedBuffer shared = std::move(buffer).share();
  const Handle handle = shared.handle(kReaders);
  std::vector<std::unique_ptr<ChildProcess>> readers;
  for (std::size_t r = 0; r < kReaders; ++r) {
    readers.push_back(std::make_unique<ChildProcess>([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      SharedBuffer mine = its.adopt_shared(handle);
      expect(mine && has_words(mine), "the share has not come");
      parent.signal();
      parent.await();
    }));
  }
  for (auto& reader : readers) reader->link().await();
  shared.reset();
  CHECK(daemon.audit()["shared"] == 1);
  daemon.kill9();
  for (auto& reader : readers) reader->kill();
  daemon.start_again();
  CHECK(eventually([&] { return daemon.audit()["shared"] == 0; }));
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a restarted daemon keeps a share that is read, and its holders' names") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(kBytes);
  write_words(buffer, 7);
  SharedBuffer shared = std::move(buffer).share();
  const Handle handle = shared.handle();
  daemon.kill9();
  daemon.start_again();
  CHECK(daemon.audit()["shared"] == 1);
  CHECK(daemon.ctl_json({"clients"})["clients"][0]["shared_bytes"] == kBytes);
  CHECK(has_words(shared));
  // Its lease begins anew with the daemon: it is never over early.
  CHECK(pool->adopt_shared(handle));
  shared.reset();
  CHECK(daemon.audit()["shared"] == 0);
}

TEST_CASE(
    "what a dead holder with direct I/O read is given back with new pages, after its last reader") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(kBytes);
  write_words(buffer, 9);
  SharedBuffer shared = std::move(buffer).share();
  const Handle handle = shared.handle();
  ChildProcess reader([&](Link& parent) {
    zeropool::OpenOptions options = daemon.options();
    options.direct_io = true;
    auto its = Pool::open("", options);
    expect(static_cast<bool>(its), its.error().sentence);
    SharedBuffer mine = its->adopt_shared(handle);
    expect(static_cast<bool>(mine), mine.error().sentence);
    parent.signal();
    parent.await();
  });
  reader.link().await();
  reader.kill();
  REQUIRE(eventually([&] { return daemon.clients() == 1; }));
  CHECK(has_words(shared));
  CHECK(daemon.audit()["shared"] == 1);
  const std::uint64_t before = daemon.pool()["counters"]["quarantined_slots"].get<std::uint64_t>();
  shared.reset();
  CHECK(eventually([&] {
    return daemon.pool()["counters"]["quarantined_slots"].get<std::uint64_t>() == before + 1 &&
           daemon.audit()["shared"] == 0 && daemon.audit()["quarantined"] == 0;
  }));
  CHECK(daemon.audit()["lost"] == 0);
}

TEST_CASE(
    "forged share words are cleared when all who were there have gone; till then shares stay as "
    "they are") {
  namespace lib = zeropool::lib;
  DaemonProcess daemon(kConfig);
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    Buffer buffer = pool->get(kBytes);
    write_words(buffer, 3);
    SharedBuffer shared = std::move(buffer).share();
    ChildProcess forger([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      const SegmentView segment;
      const auto forge = [&](std::uint32_t cell, lib::ShareState state, std::uint32_t operand) {
        segment.control().share(cell).state.store(lib::ShareWord{}.next(state, operand).word);
      };
      forge(40, lib::ShareState::kAlive, 0);
      segment.control().share(40).holders[3].store(lib::HoldWord::one(777777, 1).word);
      forge(41, lib::ShareState::kDying, 777777);
      forge(43, lib::ShareState::kAlive, 5);  // tickets of nothing
      Buffer lost = its.get(kBytes);
      const zp_buffer raw = std::move(lost).release_to_c();
      const std::uint32_t slot = raw.slot;
      std::atomic<std::uint64_t>& mark = segment.ring().slots[slot].mark;
      mark.store(lib::Mark{mark.load()}.next(lib::SlotState::kShared, 42).word);
      parent.signal();
      parent.await();
    });
    forger.link().await();
    forger.kill();
    REQUIRE(eventually([&] { return daemon.clients() == 1; }));
    CHECK(eventually([&] { return daemon.pool()["counters"]["withheld"] == 1; }));
    CHECK(daemon.audit()["shared"] == 2);
    CHECK(has_words(shared));
    shared.reset();
    // By its last holder; by the next sweep, where the daemon looks at the cell at the same instant.
    CHECK(eventually([&] { return daemon.audit()["shared"] == 1; }, 30s));
  }
  CHECK(eventually([&] { return daemon.audit()["shared"] == 0; }, 30s));
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(daemon.pool()["counters"]["repairs"].get<std::uint64_t>() >= 3);
}
