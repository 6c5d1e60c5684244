#include "client.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace zeropool::soak {
namespace {

using namespace std::chrono_literals;
using testing::expect;

constexpr std::int64_t kAttachLimitNs = 60'000'000'000;

// The daemon may be away, or have its hands full.
Pool open_patiently(const OpenOptions& options) {
  const std::int64_t deadline = now_ns() + kAttachLimitNs;
  for (;;) {
    auto pool = Pool::open("frames", options);
    if (pool) return *pool;
    expect(now_ns() < deadline, "cannot attach: " + pool.error().sentence);
    std::this_thread::sleep_for(2ms);
  }
}

bool told_to_end(int link) {
  char told = 0;
  return ::recv(link, &told, 1, MSG_DONTWAIT) >= 0;
}

// A thread that works for a while and ends.
class Helper {
 public:
  Helper(Pool pool, Scene scene, std::size_t place, std::uint64_t seed)
      : thread_([this, pool = std::move(pool), scene, place, seed]() mutable {
          Actor actor(std::move(pool), scene, place, seed, false, false);
          for (std::uint64_t steps = actor.random().below(400); steps > 0; --steps) actor.step();
          actor.let_go();
          done_.store(true, std::memory_order_release);
        }) {}
  ~Helper() { thread_.join(); }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  bool done() const { return done_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class Client {
 public:
  Client(Pool pool, Scene scene, const ClientRole& role)
      : pool_(std::move(pool)),
        scene_(scene),
        role_(role),
        choice_(role.seed + 1),
        actor_(pool_, scene, role.place, role.seed, true, role.breaks) {}

  void run(int link) {
    while (!told_to_end(link)) {
      for (int i = 0; i < 32; ++i) actor_.step();
      actor_.clock().pause();
      tend_helper();
      tend_child();
      actor_.clock().restart();
    }
    helper_.reset();
    actor_.clock().restart();
    actor_.let_go();
    end_child(choice_.below(2) == 0);
  }

 private:
  void tend_helper() {
    if (helper_ && helper_->done()) helper_.reset();
    if (helper_ || choice_.below(8) != 0) return;
    scene_.board.threads.fetch_add(1, kRelaxed);
    helper_ = std::make_unique<Helper>(pool_, scene_, role_.place, choice_());
  }

  void tend_child() {
    if (child_ > 0) {
      if (choice_.below(8) == 0) return end_child(true);
      int status = 0;
      if (::waitpid(child_, &status, WNOHANG) == child_) ended(status);
      return;
    }
    if (choice_.below(12) != 0) return;
    const std::uint64_t seed = choice_();
    const std::uint64_t steps = choice_.below(3) == 0 ? 0 : choice_.below(600);  // 0: exits at once
    scene_.board.forks.fetch_add(1, kRelaxed);
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ == 0) be_child(parent, seed, steps);
  }

  // Goes on with caches of its own; neither reads the link nor joins what is its parent's.
  [[noreturn]] void be_child(pid_t parent, std::uint64_t seed, std::uint64_t steps) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    actor_.forget_inherited();
    if (steps > 0) {
      Actor own(pool_, scene_, role_.place, seed, false, false);
      for (; steps > 0; --steps) own.step();
      if (seed % 2 == 0) own.let_go();  // else it exits with what it holds
    }
    ::_exit(0);
  }

  void end_child(bool kill) {
    if (child_ <= 0) return;
    if (kill) ::kill(child_, SIGKILL);
    int status = 0;
    if (::waitpid(child_, &status, 0) == child_) ended(status);
  }

  void ended(int status) {
    child_ = 0;
    const bool well = (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                      (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (!well) scene_.board.crashes.fetch_add(1, kRelaxed);
  }

  Pool pool_;
  Scene scene_;
  ClientRole role_;
  testing::Random choice_;
  Actor actor_;
  std::unique_ptr<Helper> helper_;
  pid_t child_ = 0;
};

}  // namespace

void run_client(const OpenOptions& options, Scene scene, const ClientRole& role,
                testing::Link& director) {
  ClientEntry& entry = scene.board.clients[role.place];
  Pool pool = open_patiently(options);
  entry.client_id.store(pool.client_id(), kRelaxed);
  Client(std::move(pool), scene, role).run(director.fd());
  entry.client_id.store(0, kRelaxed);
}

}  // namespace zeropool::soak
