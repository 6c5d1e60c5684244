// Every system call that can fail fails once: the n-th of its kind, for each n until a run has no n-th.
//
// The daemon at its start, the daemon at work, a client. Each ends in a sentence or goes on; none crashes or hangs;
// afterwards, without the fault, all is as it was. The fault is made by a preloaded library (shim/).

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/crash/shim/fail_plan.hpp"
#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr auto kHang = 10s;
constexpr int kIdleRuns = 10;
constexpr int kRunsAtMost = 2000;  // of one fault: more is an endless loop of retries

constexpr const char* kConfig = R"(budget: 64MiB
limits: {clients: 64, threads: 64}
pages: {size: [4KiB]}
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB]
    wait: {timeout: 400ms}
    handoff: {lease: 100ms}
)";

// What a kernel may answer to this call.
struct Fault {
  CallKind kind;
  const char* name;
  int error;
};

const std::vector<Fault> kStartFaults = {
    {CallKind::kMmap, "mmap", ENOMEM},
    {CallKind::kMadvise, "madvise", ENOMEM},
    {CallKind::kFallocate, "fallocate", ENOSPC},
    {CallKind::kFallocate, "fallocate", EINTR},
    {CallKind::kFtruncate, "ftruncate", EFBIG},
    {CallKind::kMemfdCreate, "memfd_create", EMFILE},
    {CallKind::kEventfd, "eventfd", EMFILE},
    {CallKind::kTimerfdCreate, "timerfd_create", EMFILE},
    {CallKind::kSignalfd, "signalfd", EMFILE},
    {CallKind::kEpollCreate, "epoll_create1", EMFILE},
    {CallKind::kEpollCtl, "epoll_ctl", ENOSPC},
    {CallKind::kEpollWait, "epoll_wait", EINTR},
    {CallKind::kSocket, "socket", EMFILE},
    {CallKind::kBind, "bind", EADDRINUSE},
    {CallKind::kListen, "listen", EADDRINUSE},
    {CallKind::kRead, "read", EIO},
    {CallKind::kRead, "read", EINTR},
    {CallKind::kRead, "read, short", 0},
    {CallKind::kWrite, "write", EAGAIN},
    {CallKind::kOpen, "open", EMFILE},
    {CallKind::kFopen, "fopen", EMFILE},
    {CallKind::kFcntl, "fcntl", ENOMEM},
    {CallKind::kFlock, "flock", ENOLCK},
    {CallKind::kFchmod, "fchmod", EIO},
    {CallKind::kGetrandom, "getrandom", EINTR},
    {CallKind::kSetMempolicy, "set_mempolicy", EPERM},
    {CallKind::kPthreadCreate, "pthread_create", EAGAIN},
};

const std::vector<Fault> kServiceFaults = {
    {CallKind::kFallocate, "fallocate", ENOSPC},
    {CallKind::kFallocate, "fallocate", EINTR},
    {CallKind::kFallocate, "fallocate", EIO},
    {CallKind::kMemfdCreate, "memfd_create", EMFILE},
    {CallKind::kSocketpair, "socketpair", EMFILE},
    {CallKind::kEpollCtl, "epoll_ctl", ENOSPC},
    {CallKind::kEpollCtl, "epoll_ctl", ENOMEM},
    {CallKind::kEpollWait, "epoll_wait", EINTR},
    {CallKind::kAccept, "accept4", EMFILE},
    {CallKind::kAccept, "accept4", EINTR},
    {CallKind::kAccept, "accept4", EAGAIN},
    {CallKind::kAccept, "accept4", ECONNABORTED},
    {CallKind::kGetsockopt, "getsockopt", ENOPROTOOPT},
    {CallKind::kRecvmsg, "recvmsg", EINTR},
    {CallKind::kRecvmsg, "recvmsg", EAGAIN},
    {CallKind::kRecvmsg, "recvmsg", ENOMEM},
    {CallKind::kSendmsg, "sendmsg", EINTR},
    {CallKind::kSendmsg, "sendmsg", EAGAIN},
    {CallKind::kSendmsg, "sendmsg", EPIPE},
    {CallKind::kRead, "read", EINTR},
    {CallKind::kRead, "read", EAGAIN},
    {CallKind::kWrite, "write", EAGAIN},
    {CallKind::kWrite, "write", EINTR},
    {CallKind::kFopen, "fopen", EMFILE},
    {CallKind::kPoll, "poll", EINTR},
    {CallKind::kFutex, "futex", EINTR},
};

const std::vector<Fault> kClientFaults = {
    {CallKind::kMmap, "mmap", ENOMEM},
    {CallKind::kMadvise, "madvise", ENOMEM},
    {CallKind::kSocket, "socket", EMFILE},
    {CallKind::kConnect, "connect", EINTR},
    {CallKind::kConnect, "connect", EAGAIN},
    {CallKind::kConnect, "connect", ECONNREFUSED},
    {CallKind::kSendmsg, "sendmsg", EINTR},
    {CallKind::kSendmsg, "sendmsg", EPIPE},
    {CallKind::kRecvmsg, "recvmsg", EINTR},
    {CallKind::kRecvmsg, "recvmsg", ENOMEM},
    {CallKind::kRecvmsg, "recvmsg", ECONNRESET},
    {CallKind::kPoll, "poll", EINTR},
    {CallKind::kPoll, "poll", ENOMEM},
    {CallKind::kPidfdOpen, "pidfd_open", EMFILE},
    {CallKind::kMembarrier, "membarrier", EPERM},
    {CallKind::kFutex, "futex", EINTR},
    {CallKind::kEventfdWrite, "eventfd_write", EAGAIN},
};

// The plan that a process under test has mapped as well.
class Plan {
 public:
  Plan() : path_(folder_.path() + "/plan") {
    write_file(path_, std::string(sizeof(FailPlan), '\0'));
    const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    void* at = ::mmap(nullptr, sizeof(FailPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) throw std::runtime_error("the plan cannot be mapped");
    plan_ = static_cast<FailPlan*>(at);
  }
  ~Plan() { ::munmap(plan_, sizeof(FailPlan)); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  void arm(const Fault& fault, int nth) {
    plan_->kind.store(0);
    plan_->nth.store(static_cast<std::uint32_t>(nth));
    plan_->error.store(fault.error);
    plan_->seen.store(0);
    plan_->hits.store(0);
    plan_->kind.store(static_cast<std::uint32_t>(fault.kind));
  }
  bool was_met() const { return plan_->hits.load() > 0; }
  // Whether the call came that was to fail.
  bool disarm() {
    plan_->kind.store(0);
    return plan_->hits.load() > 0;
  }
  std::vector<std::pair<std::string, std::string>> environment() const {
    return {{"LD_PRELOAD", FAIL_CALL_LIBRARY}, {kFailPlanVariable, path_}};
  }

 private:
  TemporaryFolder folder_;
  std::string path_;
  FailPlan* plan_ = nullptr;
};

// In a child, which may not hang: what a healthy client does. `strict`: nothing of it may fail.
void expect_sentence(bool strict, const zeropool::Error& error) {
  expect(!error.sentence.empty(), std::string("no sentence with ") + error.name());
  expect(!strict, error.sentence);
}

void use_pool(const DaemonProcess& daemon, bool strict) {
  auto opened = daemon.open();
  if (!opened) return expect_sentence(strict, opened.error());
  Pool pool = *opened;
  Buffer small = pool.get(4096);
  if (!small) return expect_sentence(strict, small.error());
  const std::vector<std::size_t> sizes(6, 1 << 20);
  if (zeropool::Batch batch = pool.get_batch(sizes); !batch) expect_sentence(strict, batch.error());
  const Handle handle = std::move(small).release();
  Buffer adopted = pool.adopt(handle);
  if (!adopted) expect_sentence(strict, adopted.error());
}

void run_client(const DaemonProcess& daemon, bool strict, bool dies) {
  ChildProcess child([&](Link&) {
    use_pool(daemon, strict);
    if (dies) {
      auto opened = daemon.open();
      if (!opened) return expect_sentence(strict, opened.error());
      Pool pool = *opened;
      Buffer kept = pool.get(65536);
      ::kill(::getpid(), SIGKILL);
    }
  });
  const End end = child.wait(kHang);
  INFO(child.failure());
  CHECK_MESSAGE(!end.timed_out, "a client hangs");
  CHECK_MESSAGE((end.status == 0 || (dies && end.signal == SIGKILL)), describe(end));
}

// A fresh client finds everything as if nothing had happened.
void check_health(DaemonProcess& daemon) {
  REQUIRE(daemon.alive());
  run_client(daemon, true, false);
  CHECK(becomes_all_free(daemon));
}

// Everything that makes the daemon call the kernel. It may say no, in a sentence.
void keep_busy(DaemonProcess& daemon) {
  run_client(daemon, false, true);
  for (const char* command : {"status", "clients", "trim"}) {
    const CommandResult result = daemon.ctl({command});
    CHECK_MESSAGE((result.exit_code == 0 || !result.err.empty()), command);
  }
  daemon.scrape();
}

// So that a client has to order: what lies free goes back to the kernel.
void trim(DaemonProcess& daemon) { REQUIRE(daemon.ctl({"trim"}).exit_code == 0); }

// `run` is told how the n-th call fails and says whether there was one.
template <typename Run>
void for_each_call(const std::vector<Fault>& faults, Run run) {
  for (const Fault& fault : faults) {
    int n = 1;
    for (int idle = 0;; ++n) {
      REQUIRE(n < kRunsAtMost);
      CAPTURE(std::string(fault.name));
      CAPTURE(std::string(fault.error == 0 ? "short" : std::strerror(fault.error)));
      CAPTURE(n);
      if (run(fault, n)) continue;
      // A doorbell is rung only where the daemon sleeps, which it may not do on a busy machine.
      if (n > 1 || ++idle == kIdleRuns) break;
      --n;
    }
    const std::string line =
        std::string(fault.name) + ": " + std::to_string(n - 1) + " times" +
        (fault.error == 0 ? "" : std::string(", ") + std::strerror(fault.error));
    MESSAGE(line);
    CHECK_MESSAGE(n > 1, "nothing was tried");
  }
}

}  // namespace

TEST_CASE("a daemon whose start meets a failing system call says why and ends, or serves") {
  Plan plan;
  for_each_call(kStartFaults, [&](const Fault& fault, int n) {
    plan.arm(fault, n);
    bool hit = false;
    try {
      DaemonProcess daemon(kConfig, std::nullopt, plan.environment());
      hit = plan.disarm();
      if (hit) {
        check_health(daemon);
        const End end = daemon.stop();
        CHECK_MESSAGE(end.well(), describe(end));
      }
    } catch (const DaemonRefused& refused) {
      hit = plan.disarm();
      CHECK_MESSAGE(hit, refused.what());
      CHECK_MESSAGE(refused.end.signal == 0, refused.what());
      CHECK_MESSAGE(refused.end.status > 0, refused.what());
      const bool said = refused.log.find("cannot start: ") != std::string::npos ||
                        refused.log.find("zeropoold.yaml: ") != std::string::npos;
      CHECK_MESSAGE(said, refused.what());
      CHECK_MESSAGE(refused.log.find("Bad file descriptor") == std::string::npos, refused.what());
    }
    return hit;
  });
}

TEST_CASE("a daemon at work survives each system call that fails, and serves as before") {
  Plan plan;
  DaemonProcess daemon(kConfig, std::nullopt, plan.environment());
  for_each_call(kServiceFaults, [&](const Fault& fault, int n) {
    trim(daemon);
    plan.arm(fault, n);
    keep_busy(daemon);
    const bool hit = plan.disarm();
    INFO(daemon.log());
    check_health(daemon);
    return hit;
  });
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
}

TEST_CASE("a daemon that can neither accept nor watch its socket for a while accepts again") {
  Plan plan;
  DaemonProcess daemon(kConfig, std::nullopt, plan.environment());
  plan.arm({CallKind::kAccept, "accept4", EMFILE}, 1);
  ChildProcess client([&](Link&) { use_pool(daemon, true); });
  REQUIRE(eventually([&] { return plan.was_met(); }));
  // It pauses, and nothing else is watched meanwhile.
  plan.arm({CallKind::kEpollCtl, "epoll_ctl", ENOMEM}, 1);
  REQUIRE(eventually([&] { return plan.was_met(); }));
  plan.disarm();
  const End end = client.wait(kHang);
  INFO(client.failure());
  CHECK_MESSAGE(end.well(), describe(end));
  check_health(daemon);
}

TEST_CASE("a client whose system calls fail gets an error with a sentence, or what it asked for") {
  Plan plan;
  DaemonProcess daemon(kConfig);
  for_each_call(kClientFaults, [&](const Fault& fault, int n) {
    trim(daemon);
    plan.arm(fault, n);
    ProgramOptions options;
    options.arguments = {FAILING_CLIENT, daemon.socket()};
    for (const auto& [name, value] : plan.environment()) {
      options.environment.emplace_back(name, value);
    }
    options.output = daemon.folder() + "/client";
    write_file(options.output, "");
    Program client(options);
    const End end = client.finish(kHang);
    const bool hit = plan.disarm();
    INFO(read_file(options.output));
    CHECK_MESSAGE(end.well(), describe(end));
    check_health(daemon);
    return hit;
  });
}
