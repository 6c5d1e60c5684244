#include "processes.hpp"

#include <chrono>
#include <csignal>
#include <sched.h>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.hpp"

namespace zeropool_bench {

void run_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
    fail("cannot run on CPU " + std::to_string(cpu));
  }
}

void* map_shared(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for " + std::to_string(bytes) + " bytes");
  return memory;
}

Child::Child(int cpu, const std::function<void()>& body) {
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail("cannot fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  run_on(cpu);
  body();
  ::_exit(0);
}

Child::~Child() {
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_ || !WIFEXITED(status)) fail("a child was killed");
  if (WEXITSTATUS(status) != 0) ::_exit(WEXITSTATUS(status));
}

void Spin::operator()() noexcept {
  if (++turns_ < patience) return;
  turns_ = 0;
  ::sched_yield();
}

double ping_pong_ns(int cpu_a, int cpu_b) {
  struct Ball {
    alignas(64) std::atomic<std::uint64_t> at{0};
  };
  constexpr std::uint64_t kRounds = 10000;
  constexpr std::uint64_t kWarm = 1000;
  Ball& ball = shared<Ball>();
  double ns = 0;
  {
    const Child other(cpu_b, [&ball] {
      Spin spin;
      for (std::uint64_t i = 0; i < kRounds + kWarm; ++i) {
        while (ball.at.load(std::memory_order_acquire) != 2 * i + 1) spin();
        ball.at.store(2 * i + 2, std::memory_order_release);
      }
    });
    run_on(cpu_a);
    Spin spin;
    auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < kRounds + kWarm; ++i) {
      if (i == kWarm) begun = std::chrono::steady_clock::now();
      ball.at.store(2 * i + 1, std::memory_order_release);
      while (ball.at.load(std::memory_order_acquire) != 2 * i + 2) spin();
    }
    ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begun).count();
  }
  ::munmap(&ball, sizeof(Ball));
  return ns / kRounds;
}

}  // namespace zeropool_bench
