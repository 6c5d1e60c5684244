#include "machine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace zeropool_scale {

Machine* Machine::running_ = nullptr;

Machine::Machine(const Costs& costs, unsigned cores, unsigned cores_a_domain)
    : costs_(costs), cores_a_domain_(cores_a_domain) {
  if (cores == 0 || cores > kMostCores || cores_a_domain == 0) {
    std::fprintf(stderr, "zeropool_scale: 1 to %zu cores\n", kMostCores);
    std::exit(2);
  }
  for (unsigned core = 0; core < cores; ++core) add_fiber(core);
}
Machine::~Machine() = default;

// By itself: getcontext() may return twice, as far as the compiler knows.
void Machine::add_fiber(unsigned core) {
  constexpr std::size_t kStack = 131072;
  fibers_.push_back(std::make_unique<Fiber>());
  Fiber& fiber = *fibers_.back();
  fiber.stack = std::make_unique<char[]>(kStack);
  ::getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = &main_;
  // A call through int arguments is what makecontext has.
  ::makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Machine::begin), 1, core);
}

void Machine::begin(unsigned core) { running_->body_(core); }

void Machine::run(double until_ns, const std::function<void(unsigned)>& body) {
  running_ = this;
  until_ns_ = until_ns;
  body_ = body;
  for (unsigned core = 0; core < fibers_.size(); ++core) {
    // Not all in step: a tenth of a nanosecond apart.
    fibers_[core]->time_ns = 0.1 * core;
    waiting_.push({fibers_[core]->time_ns, core});
  }
  while (!waiting_.empty()) {
    current_ = waiting_.top().core;
    waiting_.pop();
    ::swapcontext(&main_, &fibers_[current_]->context);
  }
  running_ = nullptr;
}

void Machine::advance(double ns) {
  Fiber& fiber = *fibers_[current_];
  fiber.time_ns += ns;
  // Who is first goes on.
  if (waiting_.empty() || waiting_.top().time_ns >= fiber.time_ns) return;
  waiting_.push({fiber.time_ns, current_});
  ::swapcontext(&fiber.context, &main_);
}

// From the nearest core that has the line; a writer takes it from all of them.
double Machine::journey_ns(const Line& line, bool to_write) const {
  bool near = false;
  bool far = false;
  for (unsigned core = 0; core < fibers_.size(); ++core) {
    const bool has = line.readers[core] || line.writer == static_cast<int>(core);
    if (!has || core == current_) continue;
    (domain_of(core) == domain_of(current_) ? near : far) = true;
  }
  if (to_write) return far ? costs_.far_ns : costs_.near_ns;
  return far && !near ? costs_.far_ns : costs_.near_ns;
}

void Machine::access(const void* address, Access kind) {
  Line& line = lines_[reinterpret_cast<std::uintptr_t>(address) / 64];
  const bool to_write = kind != Access::kLoad;
  const bool mine = line.writer == static_cast<int>(current_);
  if (mine || (!to_write && line.readers[current_])) {
    advance(kind == Access::kExchange ? costs_.own_rmw_ns : costs_.hit_ns);
    return;
  }
  const double journey = journey_ns(line, to_write);
  const double begun = std::max(now_ns(), line.free_at_ns);
  const double done = begun + journey + (kind == Access::kExchange ? costs_.own_rmw_ns : 0);
  line.free_at_ns = done;
  line.busy_ns += std::min(done, until_ns_) - std::min(begun, until_ns_);
  if (to_write) {
    line.readers.reset();
    line.writer = static_cast<int>(current_);
  } else {
    if (line.writer >= 0) line.readers.set(static_cast<std::size_t>(line.writer));
    line.writer = -1;
  }
  line.readers.set(current_);
  advance(done - now_ns());
}

std::vector<Machine::Busy> Machine::busiest(std::size_t count) const {
  std::vector<Busy> all;
  for (const auto& [number, line] : lines_) all.push_back({number * 64, line.busy_ns / until_ns_});
  std::sort(all.begin(), all.end(), [](const Busy& a, const Busy& b) {
    return a.share != b.share ? a.share > b.share : a.line < b.line;
  });
  if (all.size() > count) all.resize(count);
  return all;
}

}  // namespace zeropool_scale
