#pragma once
// A machine that is simulated event by event: cores that run real code, cache lines that travel between them. Code runs on
// fibers; each access of a SimAtom waits, in simulated time, until its line has come.
//
// Of a line is known who may write it, who may read it, and until when it is under way: one journey at a time, as a line
// has one place. Other lines do not slow it down: no limit of the interconnect is simulated, so figures are what the lines
// allow at best.
//
// Thread safety: none; a Machine and its fibers are one thread's. One Machine at a time.

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <ucontext.h>
#include <unordered_map>
#include <vector>

namespace zeropool_scale {

inline constexpr std::size_t kMostCores = 512;

struct Costs {
  double hit_ns = 1;      // a line that the core has
  double own_rmw_ns = 5;  // an atomic exchange of one that it may write
  double near_ns = 30;    // from a core under the same L3
  double far_ns = 150;    // from under another
};

class Machine {
 public:
  Machine(const Costs& costs, unsigned cores, unsigned cores_a_domain);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // The machine whose fiber runs now; null outside run().
  static Machine* running() { return running_; }

  // Runs body(core) on every core until `until_ns`; a body ends when expired() says so.
  void run(double until_ns, const std::function<void(unsigned)>& body);

  // For bodies.
  bool expired() const { return now_ns() >= until_ns_; }
  double now_ns() const { return fibers_[current_]->time_ns; }
  unsigned domain_of(unsigned core) const { return core / cores_a_domain_; }
  void work(double ns) { advance(ns); }
  enum class Access { kLoad, kStore, kExchange };
  void access(const void* address, Access kind);

  // Shares of the time that lines were under way, the busiest first.
  struct Busy {
    std::uintptr_t line;
    double share;
  };
  std::vector<Busy> busiest(std::size_t count) const;

 private:
  struct Line {
    int writer = -1;
    std::bitset<kMostCores> readers;
    double free_at_ns = 0;
    double busy_ns = 0;
  };
  struct Fiber {
    double time_ns = 0;
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
  };
  struct Event {
    double time_ns;
    unsigned core;
    bool operator>(const Event& other) const {
      return time_ns != other.time_ns ? time_ns > other.time_ns : core > other.core;
    }
  };

  void add_fiber(unsigned core);
  void advance(double ns);
  double journey_ns(const Line& line, bool to_write) const;
  static void begin(unsigned core);

  static Machine* running_;
  Costs costs_;
  unsigned cores_a_domain_;
  double until_ns_ = 0;
  unsigned current_ = 0;
  std::function<void(unsigned)> body_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  ucontext_t main_{};
  std::priority_queue<Event, std::vector<Event>, std::greater<>> waiting_;
  std::unordered_map<std::uintptr_t, Line> lines_;
};

}  // namespace zeropool_scale
