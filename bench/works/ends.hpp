#pragma once
// Runs the ends of a work at once, each on its CPU: as processes, or as threads of one.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <thread>
#include <vector>

#include "options.hpp"
#include "processes.hpp"

namespace zeropool_bench {

// All ends have arrived before any goes on.
class Start {
 public:
  void arrive(std::uint32_t ends) noexcept {
    arrived_.fetch_add(1);
    Spin spin;
    while (arrived_.load() < ends) spin();
  }

 private:
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
};

// The first of the bodies runs here; all have ended when this returns. A CPU serves several ends where there are too few.
inline void run_ends(bool as_processes, const std::vector<int>& cpus,
                     const std::vector<std::function<void()>>& bodies) {
  if (bodies.size() > cpus.size()) Spin::more_ends_than_cpus();
  std::list<Child> children;
  std::list<std::jthread> threads;
  for (std::size_t i = 1; i < bodies.size(); ++i) {
    const int cpu = cpus[i % cpus.size()];
    if (as_processes) {
      children.emplace_back(cpu, [&body = bodies[i]] {
        body();
        std::exit(0);  // what the peer registered at a service ends as its user's process would
      });
    } else {
      threads.emplace_back([cpu, &body = bodies[i]] {
        run_on(cpu);
        body();
      });
    }
  }
  run_on(cpus[0]);
  bodies[0]();
}

}  // namespace zeropool_bench
