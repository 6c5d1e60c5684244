// Whose slots come back, and whose do not: the table "Who is dead" of docs/crash-safety.md, row by row. What fork
// alone does is in fork.cpp, plain kills are in crash_clients.cpp.

#include <array>
#include <chrono>
#include <dirent.h>
#include <fcntl.h>
#include <functional>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::OpenOptions;
using zeropool::Pool;

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kConfig =
    "budget: 96MiB\npools: {frames: {classes: [4KiB, 64KiB], wait: {timeout: 5s}}}\n";
constexpr std::size_t kHeld = 30;
// The daemon looks at a suspect for the second time after 200 ms.
constexpr auto kPastTheLook = 400ms;

Pool open_or_throw(const OpenOptions& options) {
  auto pool = Pool::open("frames", options);
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// Buffers with patterns, held in a process to be.
class Holding {
 public:
  explicit Holding(Pool& pool) {
    for (std::uint64_t i = 0; i < kHeld; ++i) {
      buffers_.push_back(pool.get(4096));
      expect(static_cast<bool>(buffers_.back()), zp_last_error());
      write_pattern(buffers_.back(), i);
    }
  }
  void check() const {
    for (std::uint64_t i = 0; i < kHeld; ++i) {
      expect(has_pattern(buffers_[i], i), "bytes of a held buffer have changed");
    }
  }

 private:
  std::vector<Buffer> buffers_;
};

// Gets and puts for a while; more at once than a cache has.
void work_for(Pool& pool, std::chrono::milliseconds time) {
  const auto end = Clock::now() + time;
  for (std::uint64_t i = 0; Clock::now() < end; ++i) {
    std::array<Buffer, 20> some;
    for (Buffer& buffer : some) {
      buffer = pool.get(4096);
      expect(static_cast<bool>(buffer), zp_last_error());
      write_pattern(buffer, i, 1024);
    }
    for (const Buffer& buffer : some) expect(has_pattern(buffer, i, 1024), "a pattern is broken");
  }
}

// Closes this process's connection to the daemon and nothing else.
void hang_up(const std::string& path) {
  DIR* folder = ::opendir("/proc/thread-self/fd");  // the first thread may have ended
  int closed = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_un peer{};
    socklen_t bytes = sizeof(peer);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) continue;
    if (peer.sun_family == AF_UNIX && path == peer.sun_path) closed += ::close(fd) == 0 ? 1 : 0;
  }
  ::closedir(folder);
  expect(closed == 1, "there is not one connection");
}

bool one_is_suspect(const DaemonProcess& daemon) {
  const auto document = daemon.ctl_json({"clients"});
  for (const auto& client : document["clients"]) {
    if (client["suspect"] == true) return true;
  }
  return false;
}

// What a program opens after it has closed everything: the numbers are used again.
class OwnFiles {
 public:
  OwnFiles() {
    for (int& fd : fds_) {
      fd = ::memfd_create("mine", MFD_CLOEXEC);
      expect(fd >= 0, "memfd_create");
    }
  }
  void check() const {
    for (const int fd : fds_) {
      struct stat info {};
      expect(::fstat(fd, &info) == 0, "a file of the program's own was closed");
      expect(info.st_size == 0, "somebody wrote into a file of the program's own");
    }
  }

 private:
  int fds_[32];
};

// The link survives closefrom(3) on standard input.
Link link_on_stdin(const Link& link) {
  expect(::dup2(link.fd(), STDIN_FILENO) == STDIN_FILENO, "dup2");
  return Link(STDIN_FILENO);
}

bool held_stays(const DaemonProcess& daemon) { return daemon.audit()["held"] == kHeld; }

// May this user make namespaces? Some machines forbid it.
bool may_unshare(int flags) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(::unshare(flags) == 0 ? 0 : 1);
  int status = 1;
  ::waitpid(pid, &status, 0);
  return status == 0;
}

constexpr int kUserAndPid = CLONE_NEWUSER | CLONE_NEWPID;

// The first process of a PID namespace of its own, with its user namespace.
void in_pid_namespace(Link& parent, const std::function<void(Link&)>& body) {
  expect(::unshare(kUserAndPid) == 0, "unshare");
  // Not ChildProcess: its parent has no pid there.
  const pid_t first = ::fork();
  if (first == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      expect(::getpid() == 1, "not the first process");
      body(parent);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the namespace: %s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  const auto end = wait_for_child(first, 60s);
  expect(end && end->well(), "it has not ended well");
}

}  // namespace

TEST_CASE("a client that closes all its descriptors keeps what it holds and goes on") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& link) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    Link test = link_on_stdin(link);
    ::closefrom(3);
    test.signal();
    test.await();
    work_for(pool, kPastTheLook);
    holding.check();
    test.signal();
    test.await();
  });
  child.link().await();
  CHECK(eventually([&] { return one_is_suspect(daemon); }));
  child.link().signal();
  child.link().await();
  CHECK(held_stays(daemon));
  CHECK(one_is_suspect(daemon));
  CHECK(daemon.log().find("closed its socket and lives") != std::string::npos);
  child.kill();
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}

TEST_CASE("descriptors that a program opens after closing all are its own") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& link) {
    Pool pool = open_or_throw(daemon.options());
    Link test = link_on_stdin(link);
    {
      const Holding holding(pool);
      ::closefrom(3);
      const OwnFiles files;
      // Orders and doorbells, threads that end, and the end of the attachment.
      std::vector<Buffer> all;
      for (;;) {
        Buffer buffer = pool.get(65536, 50ms);
        if (!buffer) break;
        all.push_back(std::move(buffer));
      }
      all.clear();
      std::thread([&] { work_for(pool, 20ms); }).join();
      holding.check();
      files.check();
    }
    const OwnFiles files;
    pool = Pool();
    files.check();
    test.signal();
    test.await();
  });
  CHECK_NOTHROW(child.link().await());
  // It could not say that it is done; that its memory is no longer mapped says it.
  CHECK(eventually([&] { return daemon.clients() == 0; }, 30s));
  CHECK(becomes_all_free(daemon));
  child.link().signal();
  CHECK(child.wait().well());
}

TEST_CASE("a forked child that closes all before its first use keeps what it opens then") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  const Holding holding(*pool);
  ChildProcess child([&](Link& link) {
    Link test = link_on_stdin(link);
    ::closefrom(3);
    const OwnFiles files;
    const Buffer own = pool->get(4096);
    expect(static_cast<bool>(own), zp_last_error());
    files.check();
    test.signal();
    test.await();
  });
  CHECK_NOTHROW(child.link().await());
  CHECK(daemon.clients() == 2);
  child.link().signal();
  CHECK(child.wait().well());
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(held_stays(daemon));
}

TEST_CASE("a client that becomes a daemon has died; what goes on is a client of its own") {
  const DaemonProcess daemon(kConfig);
  for (const bool twice : {false, true}) {
    ChildProcess child([&](Link& test) {
      Pool pool = open_or_throw(daemon.options());
      Holding holding(pool);
      expect(::daemon(0, 0) == 0, "daemon(0, 0)");
      if (twice && ::fork() != 0) ::_exit(0);
      test.await();
      test.send(::getpid());
      test.await();
      holding = Holding(pool);  // those that it inherited are inert
      test.signal();
      test.await();
    });
    CHECK(child.wait().well());  // before the other has said anything
    CHECK(becomes_all_free(daemon));
    CHECK(eventually([&] { return daemon.clients() == 0; }));
    child.link().signal();
    const auto pid = child.link().receive<pid_t>();
    CHECK(pid != child.pid());
    child.link().signal();
    child.link().await();
    CHECK(held_stays(daemon));
    CHECK(daemon.ctl_json({"clients"})["clients"][0]["pid"] == pid);
    child.link().signal();
    CHECK(becomes_all_free(daemon));
    CHECK(eventually([&] { return daemon.clients() == 0; }));
  }
}

TEST_CASE("a program that a client has started keeps nothing of it") {
  const DaemonProcess daemon(kConfig);
  pid_t started = 0;
  ChildProcess client([&](Link& test) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    char name[] = "sleep";
    char time[] = "60";
    char* arguments[] = {name, time, nullptr};
    pid_t pid = 0;
    expect(::posix_spawnp(&pid, name, nullptr, nullptr, arguments, environ) == 0, "posix_spawnp");
    test.send(pid);
    test.await();
  });
  started = client.link().receive<pid_t>();
  CHECK(held_stays(daemon));
  client.kill();
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(::kill(started, 0) == 0);
  ::kill(started, SIGKILL);
}

TEST_CASE("execve by any thread gives back what the process held") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& test) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    test.signal();
    test.await();
    std::thread([] { ::execl("/bin/sleep", "sleep", "60", nullptr); }).join();
  });
  child.link().await();
  CHECK(held_stays(daemon));
  child.link().signal();
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(::kill(child.pid(), 0) == 0);
}

TEST_CASE("execve while a forked child has the connection open: when that one ends") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& test) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    const pid_t forked = ::fork();
    if (forked == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::pause();
      ::_exit(0);
    }
    test.send(forked);
    test.await();
    ::execl("/bin/sleep", "sleep", "60", nullptr);
  });
  const auto forked = child.link().receive<pid_t>();
  child.link().signal();
  const std::string name = "/proc/" + std::to_string(child.pid()) + "/comm";
  CHECK(eventually([&] { return read_file(name) == "sleep\n"; }));
  // The connection is open: the kernel has said nothing to the daemon.
  CHECK(held_stays(daemon));
  CHECK_FALSE(one_is_suspect(daemon));
  ::kill(forked, SIGKILL);
  CHECK(becomes_all_free(daemon));
  CHECK(::kill(child.pid(), 0) == 0);
}

TEST_CASE("a client whose first thread has ended lives, by whatever the daemon can see of it") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& test) {
    auto* pool = new Pool(open_or_throw(daemon.options()));
    auto* holding = new Holding(*pool);
    const std::string path = daemon.socket();
    std::thread([&test, pool, holding, path] {
      test.await();  // the first thread has gone
      hang_up(path);
      test.signal();
      test.await();
      work_for(*pool, kPastTheLook);
      holding->check();
      test.signal();
      ::pause();
    }).detach();
    ::syscall(SYS_exit, 0);
  });
  const std::string maps = "/proc/" + std::to_string(child.pid()) + "/maps";
  CHECK(eventually([&] { return read_file(maps).empty(); }));
  child.link().signal();
  child.link().await();
  CHECK(eventually([&] { return one_is_suspect(daemon); }));
  child.link().signal();
  CHECK_NOTHROW(child.link().await());
  CHECK(held_stays(daemon));
  child.kill();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client that has hung up and is stopped for seconds loses nothing") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& test) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    hang_up(daemon.socket());
    test.signal();
    test.await();
    holding.check();
    work_for(pool, 20ms);
  });
  child.link().await();
  child.send_signal(SIGSTOP);
  CHECK(eventually([&] { return one_is_suspect(daemon); }));
  auto pool = daemon.open();
  REQUIRE(pool);
  const auto end = Clock::now() + 3s;
  for (std::uint64_t round = 0; Clock::now() < end; ++round) {
    std::vector<Buffer> all;  // all that can be had
    for (Buffer buffer = pool->get(4096, 100ms); buffer; buffer = pool->get(4096, 100ms)) {
      write_pattern(buffer, round, 1024);
      all.push_back(std::move(buffer));
    }
    CHECK(daemon.audit()["held"] == all.size() + kHeld);
  }
  CHECK(daemon.clients() == 2);
  child.send_signal(SIGCONT);
  child.link().signal();
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
}

TEST_CASE(
    "a client that the daemon may not look into keeps what it holds until its end, execve or not" *
    doctest::skip(::geteuid() != 0)) {
  const DaemonProcess daemon(kConfig, 65534);
  ChildProcess child([&](Link& link) {
    Pool pool = open_or_throw(daemon.options());
    const Holding holding(pool);
    Link test = link_on_stdin(link);
    test.signal();
    test.await();
    ::execl("/bin/sleep", "sleep", "60", nullptr);
  });
  child.link().await();
  CHECK(held_stays(daemon));
  child.link().signal();
  CHECK(eventually([&] { return one_is_suspect(daemon); }));
  CHECK(held_stays(daemon));
  child.kill();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client in another PID namespace, and in another user namespace: its end is seen" *
          doctest::skip(!may_unshare(kUserAndPid))) {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& parent) {
    in_pid_namespace(parent, [&](Link& test) {
      expect(::getuid() == 65534, "its user has a number there");
      Pool pool = open_or_throw(daemon.options());
      const Holding holding(pool);
      test.signal();
      test.await();
      work_for(pool, 20ms);
      holding.check();
      test.signal();
      ::execl("/bin/sleep", "sleep", "60", nullptr);
    });
  });
  child.link().await();
  const auto client = daemon.ctl_json({"clients"})["clients"][0];
  CHECK(client["pid"] != 1);  // as this namespace has it
  CHECK(client["pid"] != 0);
  CHECK(client["uid"] == ::getuid());
  CHECK(held_stays(daemon));
  child.link().signal();
  CHECK_NOTHROW(child.link().await());
  CHECK(becomes_all_free(daemon));  // execve there
  child.kill();
}

TEST_CASE(
    "a client that the daemon's PID namespace does not have: its end is seen, its hang-up proves "
    "nothing" *
    doctest::skip(!may_unshare(kUserAndPid))) {
  std::string folder;
  ChildProcess host([&](Link& parent) {
    in_pid_namespace(parent, [&](Link& test) {
      const DaemonProcess daemon(kConfig);
      std::array<char, 256> socket{};
      daemon.socket().copy(socket.data(), socket.size() - 1);
      test.send(socket);
      test.await();
      expect(held_stays(daemon), "not held");
      const auto client = daemon.ctl_json({"clients"})["clients"][0];
      expect(client["pid"] == 0, "the daemon sees the client's pid");
      expect(client["uid"] == 65534, "the daemon sees the client's user");
      test.signal();
      test.await();
      expect(eventually([&] { return one_is_suspect(daemon); }), "not a suspect");
      test.signal();
      test.await();
      expect(held_stays(daemon), "a hang-up was taken for a death");
      test.signal();
      test.await();
      expect(becomes_all_free(daemon), "its death was not seen");
      test.signal();
    });
  });
  const auto socket = host.link().receive<std::array<char, 256>>();
  OpenOptions options;
  options.socket = socket.data();
  ChildProcess client([&](Link& test) {
    Pool pool = open_or_throw(options);
    const Holding holding(pool);
    test.signal();
    test.await();
    hang_up(options.socket);
    test.signal();
    test.await();
    work_for(pool, kPastTheLook);
    holding.check();
    test.signal();
    test.await();
  });
  // Both go on step by step: attached, hung up, past the daemon's look, dead.
  for (int step = 0; step < 3; ++step) {
    REQUIRE_NOTHROW(client.link().await());
    host.link().signal();
    REQUIRE_NOTHROW(host.link().await());
    if (step < 2) client.link().signal();
  }
  client.kill();
  host.link().signal();
  CHECK_NOTHROW(host.link().await());
  const End end = host.wait();
  CHECK_MESSAGE(end.well(), describe(end) << " " << host.failure());
}
