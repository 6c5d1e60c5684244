// A client that registered buffers dies with reads under way into them: nobody else gets those pages, however late
// the storage answers.

#define DOCTEST_CONFIG_IMPLEMENT
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <liburing.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "slow_storage/slow_file.hpp"
#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/survivor.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::OpenOptions;
using zeropool::Pool;

namespace {

constexpr int kSkipped = 77;  // ctest: SKIP_RETURN_CODE
constexpr std::size_t kReads = 8;
constexpr unsigned long kHugePages = 16;

std::string config(const std::string& page_size, const std::string& cls) {
  return "budget: 12MiB\n"
         "limits: {clients: 16, threads: 16}\n"
         "pages: {size: [" +
         page_size + "]}\npools:\n  frames: {classes: [" + cls + "], wait: {timeout: 5s}}\n";
}

Pool open_pool(const DaemonProcess& daemon, bool direct_io) {
  OpenOptions options = daemon.options();
  options.direct_io = direct_io;
  auto pool = Pool::open("frames", options);
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// Registers `buffers`, and has a read under way into each. It stays so until the process ends.
void read_into(const std::string& path, std::vector<Buffer>& buffers) {
  const int file = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  expect(file >= 0, path);
  static io_uring ring;
  expect(io_uring_queue_init(64, &ring, 0) == 0, "io_uring_queue_init");
  std::vector<iovec> registered;
  for (Buffer& buffer : buffers) registered.push_back({buffer.data(), buffer.size()});
  expect(io_uring_register_buffers(&ring, registered.data(),
                                   static_cast<unsigned>(registered.size())) == 0,
         "io_uring_register_buffers");
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    io_uring_prep_read_fixed(io_uring_get_sqe(&ring), file, buffers[i].data(),
                             static_cast<unsigned>(buffers[i].size()), i * buffers[i].size(),
                             static_cast<int>(i));
  }
  expect(io_uring_submit(&ring) == static_cast<int>(buffers.size()), "io_uring_submit");
}

struct Reader {
  bool direct_io = true;
  std::size_t bytes = 64 * 1024;
  std::size_t stride = 1;  // of the slots that it gets it keeps every so many-th
};

// A client with kReads reads under way into slots that it holds.
std::unique_ptr<ChildProcess> start_reader(const DaemonProcess& daemon, SlowFile& slow,
                                           Reader reader) {
  auto child = std::make_unique<ChildProcess>([&, reader](Link& parent) {
    Pool pool = open_pool(daemon, reader.direct_io);
    std::vector<Buffer> held;
    std::vector<Buffer> passed_over;
    while (held.size() < kReads) {
      for (std::size_t i = 1; i < reader.stride; ++i) passed_over.push_back(pool.get(reader.bytes));
      held.push_back(pool.get(reader.bytes));
      expect(static_cast<bool>(held.back()), zp_last_error());
    }
    passed_over.clear();
    read_into(slow.path(), held);
    parent.signal();
    ::pause();
  });
  child->link().await();
  slow.await_reads(kReads);
  return child;
}

bool no_more_quarantined(const DaemonProcess& daemon) {
  return eventually([&] { return daemon.clients() == 0 && daemon.audit()["quarantined"] == 0; },
                    30s);
}

void check_whole(const DaemonProcess& daemon) {
  const nlohmann::json audit = daemon.audit();
  for (const char* count : {"lost", "doubled", "broken", "orphaned", "quarantined"}) {
    CHECK_MESSAGE(audit[count] == 0, count << ": " << audit.dump());
  }
}

// How many slots of the pool one client can have, when nobody else has any.
std::size_t all_slots(const DaemonProcess& daemon, std::size_t bytes) {
  return Survivor(open_pool(daemon, false), bytes).fill_pool();
}

// The reader is killed, another client gets every slot, and then the storage answers. Whether what the other wrote
// is still there.
bool others_are_safe_from(const DaemonProcess& daemon, SlowFile& slow, Reader reader) {
  const std::size_t all = all_slots(daemon, reader.bytes);
  REQUIRE(all > kReads);
  std::unique_ptr<ChildProcess> child = start_reader(daemon, slow, reader);
  CHECK(daemon.ctl_json({"clients"})["clients"][0]["direct_io"] == reader.direct_io);
  child->kill();
  REQUIRE_MESSAGE(no_more_quarantined(daemon), daemon.log());
  Survivor other(open_pool(daemon, false), reader.bytes);
  CHECK(other.fill_pool() == all);
  REQUIRE(other.intact());
  CHECK(slow.answer() == kReads);
  const bool safe = other.intact();
  check_whole(daemon);
  CHECK(daemon.audit()["held"] == all);
  CHECK(daemon.metric("zeropool_quarantined_slots_total") == (reader.direct_io ? kReads : 0));
  CHECK(daemon.metric("zeropool_slots", {"state=\"quarantined\""}) == 0);
  return safe;
}

// So many huge pages of 2 MiB more than are in use, for as long as it lives.
class HugePages {
 public:
  explicit HugePages(unsigned long count) : before_(read("nr_hugepages")) {
    write(before_ + count);
    enough_ = read("free_hugepages") >= count;
  }
  ~HugePages() { write(before_); }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  bool enough() const { return enough_; }

 private:
  static constexpr const char* kFolder = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
  static unsigned long read(const char* name) {
    unsigned long value = 0;
    std::ifstream(std::string(kFolder) + name) >> value;
    return value;
  }
  static void write(unsigned long count) {
    std::ofstream(std::string(kFolder) + "nr_hugepages") << count;
  }

  unsigned long before_;
  bool enough_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  std::string why = SlowFile::why_not();
  io_uring ring;
  if (why.empty()) {
    if (const int error = io_uring_queue_init(2, &ring, 0); error != 0) {
      why = std::string("io_uring: ") + std::strerror(-error);
    } else {
      io_uring_queue_exit(&ring);
    }
  }
  if (!why.empty()) {
    std::printf("SKIPPED: no storage that answers late can be had here (%s): run it as root\n",
                why.c_str());
    return kSkipped;
  }
  doctest::Context context(argc, argv);
  if (!HugePages(kHugePages).enough()) {
    std::printf(
        "SKIPPED, of the cases below: slots on huge pages: %lu of 2 MiB cannot be reserved\n",
        kHugePages);
    context.addFilter("test-case-exclude", "slots on huge pages*");
  }
  return context.run();
}

TEST_CASE("late reads of a dead client that did not say so reach the next holder") {
  // The control: were it otherwise here, the other cases would show nothing.
  SlowFile slow;
  const DaemonProcess daemon(config("4KiB", "64KiB"));
  CHECK_FALSE(others_are_safe_from(daemon, slow, {.direct_io = false}));
}

TEST_CASE("late reads of a dead client with direct I/O reach nobody") {
  SlowFile slow;
  const DaemonProcess daemon(config("4KiB", "64KiB"));
  CHECK(others_are_safe_from(daemon, slow, {.direct_io = true}));
  CHECK(daemon.log().find("did direct I/O: 8 slots that it held are quarantined") !=
        std::string::npos);
  CHECK(daemon.log().find("8 quarantined slots of 65536 bytes have new pages") !=
        std::string::npos);
}

TEST_CASE("slots that share a small page with quarantined ones are safe, too") {
  SlowFile slow;
  const DaemonProcess daemon(config("4KiB", "1KiB"));
  CHECK(others_are_safe_from(daemon, slow, {.direct_io = true, .bytes = 1024, .stride = 3}));
}

TEST_CASE("slots that do not begin with a page are safe, too") {
  SlowFile slow;
  const DaemonProcess daemon(config("4KiB", "9600B"));
  CHECK(others_are_safe_from(daemon, slow, {.direct_io = true, .bytes = 9600, .stride = 2}));
}

TEST_CASE("slots on huge pages are safe, too") {
  const HugePages reserved(kHugePages);
  REQUIRE(reserved.enough());
  SlowFile slow;
  const DaemonProcess daemon(config("2MiB", "64KiB"));
  REQUIRE(daemon.pool()["arenas"][0]["page_size"] == "2MiB");
  CHECK(others_are_safe_from(daemon, slow, {.direct_io = true, .stride = 3}));
}

TEST_CASE(
    "a quarantined slot waits for a live client's on its page, through a kill of the daemon") {
  SlowFile slow;
  DaemonProcess daemon(config("4KiB", "1KiB"));
  const std::size_t all = all_slots(daemon, 1024);
  Survivor neighbour(open_pool(daemon, false), 1024);
  neighbour.fill_pool();
  std::vector<Buffer> kept;  // every other slot, so that each page has one
  {
    Pool pool = neighbour.pool();
    neighbour.put_all();
    std::vector<Buffer> taken;
    for (std::size_t i = 0; i < all; ++i) {
      (i % 2 == 0 ? kept : taken).push_back(pool.get(1024));
      Buffer& last = i % 2 == 0 ? kept.back() : taken.back();
      REQUIRE(last);
      write_pattern(last, i);
    }
  }
  std::unique_ptr<ChildProcess> reader = start_reader(daemon, slow, {.bytes = 1024});
  reader->kill();
  REQUIRE(eventually([&] { return daemon.clients() == 1; }));
  CHECK(daemon.audit()["quarantined"] == kReads);
  CHECK(daemon.metric("zeropool_slots", {"state=\"quarantined\""}) == kReads);
  daemon.kill9();
  daemon.start_again();
  CHECK(daemon.audit()["quarantined"] == kReads);
  CHECK(daemon.log().find("8 slots were quarantined by the daemon before") != std::string::npos);
  CHECK(slow.answer() == kReads);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(has_pattern(kept[i], 2 * i));
  kept.clear();
  neighbour = Survivor(Pool(), 1024);
  REQUIRE_MESSAGE(no_more_quarantined(daemon), daemon.log());
  CHECK(all_slots(daemon, 1024) == all);
  check_whole(daemon);
}

TEST_CASE("the next daemon quarantines what a client held that died while none ran") {
  SlowFile slow;
  DaemonProcess daemon(config("4KiB", "64KiB"));
  const std::size_t all = all_slots(daemon, 64 * 1024);
  std::unique_ptr<ChildProcess> reader = start_reader(daemon, slow, {});
  daemon.kill9();
  reader->kill();
  daemon.start_again();
  REQUIRE_MESSAGE(no_more_quarantined(daemon), daemon.log());
  Survivor other(open_pool(daemon, false), 64 * 1024);
  CHECK(other.fill_pool() == all);
  CHECK(slow.answer() == kReads);
  CHECK(other.intact());
  check_whole(daemon);
}

TEST_CASE("a forked child of a client with direct I/O is one, too") {
  SlowFile slow;
  const DaemonProcess daemon(config("4KiB", "64KiB"));
  Pool parent = open_pool(daemon, true);
  Buffer used = parent.get(1);
  ChildProcess child([&](Link& link) {
    std::vector<Buffer> held(kReads);
    for (Buffer& buffer : held) buffer = parent.get(64 * 1024);
    read_into(slow.path(), held);
    link.signal();
    ::pause();
  });
  child.link().await();
  slow.await_reads(kReads);
  child.kill();
  REQUIRE(eventually([&] { return daemon.clients() == 1 && daemon.audit()["quarantined"] == 0; }));
  CHECK(daemon.metric("zeropool_quarantined_slots_total") == kReads);
  Survivor other(open_pool(daemon, false), 64 * 1024);
  CHECK(other.fill_pool() > kReads);
  CHECK(slow.answer() == kReads);
  CHECK(other.intact());
}
