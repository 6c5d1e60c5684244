#include "tests/unit/support/schedule.hpp"

#include <bit>
#include <memory>
#include <random>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace zeropool::test {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;
constexpr std::uint32_t kMostActors = 8;
constexpr std::uint32_t kMostSteps = 100'000;  // more is taken for a livelock

// A point of the search: who may go on, who need not (asleep), who has been tried.
struct Node {
  std::uint32_t enabled = 0;
  std::uint32_t asleep = 0;
  std::uint32_t tried = 0;
  std::uint32_t chosen = 0;
  std::uint32_t preemptions = 0;  // spent before this point
  std::uint32_t previous = kNever;
  bool preempts() const {
    return previous != kNever && chosen != previous && (enabled >> previous & 1) != 0;
  }
};

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<std::byte[]> stack = std::make_unique<std::byte[]>(kStackBytes);
  const Actor* actor = nullptr;
  bool started = false;
  bool over = false;           // ended or dead
  std::uint32_t accesses = 0;  // made
  const void* word = nullptr;  // of the access that it waits to make
  bool writes = false;
};

class Search {
 public:
  explicit Search(const Limits& limits) : limits_(limits), random_(limits.random_seed) {}
  Explored explore(const std::function<Script()>& make);
  void before_access(const void* word, bool writes) noexcept;
  void fail(const std::string& sentence);

 private:
  bool run_once(const Script& script);  // false: pruned
  void start_ready();
  void resume(std::uint32_t number);
  void to_main();
  std::uint32_t choose();  // the next actor, or kNever
  std::uint32_t choose_random(std::uint32_t enabled);
  bool add_node(std::uint32_t enabled);
  bool backtrack();
  static void enter();
  bool independent(std::uint32_t a, std::uint32_t b) const {
    return fibers_[a].word != fibers_[b].word || (!fibers_[a].writes && !fibers_[b].writes);
  }

  Limits limits_;
  std::mt19937_64 random_;
  std::uint64_t expected_steps_ = 32;
  std::uint32_t preemption_at_[3] = {};
  Explored result_;
  ucontext_t main_{};
  Fiber fibers_[kMostActors];
  std::uint32_t count_ = 0;
  std::uint32_t current_ = kNever;  // the fiber that runs now
  std::uint32_t next_ = kNever;     // whom a fiber that stopped has chosen
  bool starting_ = false;
  bool pruned_ = false;
  bool killed_ = false;
  std::vector<Node> nodes_;
  std::size_t depth_ = 0;
  std::uint32_t asleep_next_ = 0;
  std::vector<std::uint32_t> trace_;
#if defined(__SANITIZE_ADDRESS__)
  const void* main_stack_ = nullptr;
  std::size_t main_stack_bytes_ = 0;
  void* main_fake_stack_ = nullptr;
#endif
};

Search* active = nullptr;

void Search::enter() {
  Search& search = *active;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &search.main_stack_, &search.main_stack_bytes_);
#endif
  Fiber& self = search.fibers_[search.current_];
  self.actor->body();
  self.over = true;
  search.next_ = kNever;
  search.to_main();
}

void Search::resume(std::uint32_t number) {
  current_ = number;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&main_fake_stack_, fibers_[number].stack.get(), kStackBytes);
#endif
  ::swapcontext(&main_, &fibers_[number].context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(main_fake_stack_, nullptr, nullptr);
#endif
  current_ = kNever;
}

void Search::to_main() {
  Fiber& self = fibers_[current_];
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, main_stack_, main_stack_bytes_);
#endif
  ::swapcontext(&self.context, &main_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Search::before_access(const void* word, bool writes) noexcept {
  if (current_ == kNever) return;  // setup or finish: not scheduled
  Fiber& self = fibers_[current_];
  self.word = word;
  self.writes = writes;
  if (self.accesses == self.actor->kill_after) {
    self.over = true;
    killed_ = killed_ || !self.actor->dies_anyway;
    next_ = kNever;
    to_main();  // never comes back
  }
  next_ = kNever;
  if (!starting_) next_ = choose();
  if (next_ != current_) to_main();
  ++self.accesses;
}

// Runs every actor that may start up to its first access.
void Search::start_ready() {
  starting_ = true;
  for (std::uint32_t i = 0; i < count_; ++i) {
    Fiber& fiber = fibers_[i];
    const int after = fiber.actor->after;
    if (fiber.started || (after >= 0 && !fibers_[after].over)) continue;
    fiber.started = true;
    if (fiber.actor->prelude) fiber.actor->prelude();
    resume(i);
  }
  starting_ = false;
}

std::uint32_t Search::choose_random(std::uint32_t enabled) {
  bool preempt = false;
  for (const std::uint32_t at : preemption_at_) preempt = preempt || at == trace_.size();
  const std::uint32_t previous = trace_.empty() ? kNever : trace_.back();
  const bool can_go_on = previous != kNever && (enabled >> previous & 1) != 0;
  if (can_go_on && !preempt) return previous;
  if (can_go_on && std::popcount(enabled) > 1) enabled &= ~(1U << previous);
  auto skip = random_() % static_cast<std::uint64_t>(std::popcount(enabled));
  for (; skip > 0; --skip) enabled &= enabled - 1;
  return static_cast<std::uint32_t>(std::countr_zero(enabled));
}

std::uint32_t Search::choose() {
  std::uint32_t enabled = 0;
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (fibers_[i].started && !fibers_[i].over) enabled |= 1U << i;
  }
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (!fibers_[i].started && fibers_[fibers_[i].actor->after].over)
      return kNever;  // start it first
  }
  if (enabled == 0 || !result_.failure.empty()) return kNever;
  if (trace_.size() > kMostSteps) {
    fail("no end after so many accesses: a livelock");
    return kNever;
  }
  std::uint32_t chosen = kNever;
  if (limits_.random_seed != 0) {
    chosen = choose_random(enabled);
  } else {
    if (depth_ == nodes_.size() && !add_node(enabled)) return kNever;
    const Node& node = nodes_[depth_++];
    chosen = node.chosen;
    // For the next new node: who has had its turn here and does not care about this access.
    asleep_next_ = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
      const bool had_turn = ((node.asleep | node.tried) >> i & 1) != 0;
      if (had_turn && independent(i, chosen)) asleep_next_ |= 1U << i;
    }
  }
  trace_.push_back(chosen);
  return chosen;
}

bool Search::add_node(std::uint32_t enabled) {
  Node node;
  node.enabled = enabled;
  node.asleep = asleep_next_;
  bool can_go_on = false;
  if (depth_ > 0) {
    const Node& parent = nodes_[depth_ - 1];
    node.previous = parent.chosen;
    node.preemptions = parent.preemptions + (parent.preempts() ? 1 : 0);
    can_go_on = (enabled >> node.previous & 1) != 0;
  }
  if (limits_.preemptions != kNever) {  // sleep sets and a bound do not go together
    node.asleep = 0;
    if (can_go_on && node.preemptions >= limits_.preemptions) node.enabled = 1U << node.previous;
  }
  const std::uint32_t open = node.enabled & ~node.asleep;
  pruned_ = open == 0;
  if (pruned_) return false;
  const bool go_on = can_go_on && (open >> node.previous & 1) != 0;
  node.chosen = go_on ? node.previous : static_cast<std::uint32_t>(std::countr_zero(open));
  nodes_.push_back(node);
  return true;
}

// Turns the last point that has another way to go on to that way. False: all is searched.
bool Search::backtrack() {
  for (; !nodes_.empty(); nodes_.pop_back()) {
    Node& node = nodes_.back();
    node.tried |= 1U << node.chosen;
    const std::uint32_t open = node.enabled & ~node.asleep & ~node.tried;
    if (open == 0) continue;
    node.chosen = static_cast<std::uint32_t>(std::countr_zero(open));
    return true;
  }
  return false;
}

bool Search::run_once(const Script& script) {
  count_ = static_cast<std::uint32_t>(script.actors.size());
  depth_ = 0;
  asleep_next_ = 0;
  pruned_ = killed_ = false;
  trace_.clear();
  for (std::uint32_t& at : preemption_at_) {
    at = static_cast<std::uint32_t>(random_() % expected_steps_);
  }
  for (std::uint32_t i = 0; i < count_; ++i) {
    Fiber& fiber = fibers_[i];
    fiber.actor = &script.actors[i];
    fiber.started = fiber.over = false;
    fiber.accesses = 0;
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(fiber.stack.get(), kStackBytes);  // what a killed fiber left there
#endif
    ::getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    ::makecontext(&fiber.context, &Search::enter, 0);
  }
  while (true) {
    start_ready();
    const std::uint32_t chosen = next_ != kNever ? next_ : choose();
    next_ = kNever;
    if (chosen == kNever) break;
    resume(chosen);
    if (pruned_) break;
  }
  expected_steps_ = trace_.size() + 1;
  if (pruned_) return false;
  if (result_.failure.empty()) script.finish();
  return true;
}

Explored Search::explore(const std::function<Script()>& make) {
  while (result_.runs < limits_.runs && result_.failure.empty()) {
    const Script script = make();
    if (run_once(script)) {
      ++result_.runs;
      if (killed_) ++result_.killed;
    }
    if (limits_.random_seed == 0 && !backtrack()) {
      result_.complete = true;
      break;
    }
  }
  return result_;
}

void Search::fail(const std::string& sentence) {
  if (!result_.failure.empty()) return;
  result_.failure = sentence + "; schedule ";
  for (const std::uint32_t actor : trace_) result_.failure += static_cast<char>('0' + actor);
}

}  // namespace

Explored explore(const std::function<Script()>& make, const Limits& limits) {
  Search search(limits);
  active = &search;
  Explored result = search.explore(make);
  active = nullptr;
  return result;
}

Explored explore_kills(const std::function<Script(std::uint32_t)>& make, const Limits& limits) {
  Explored sum;
  sum.complete = true;
  for (std::uint32_t kill_after = 0;; ++kill_after) {
    const Explored one = explore([&] { return make(kill_after); }, limits);
    sum.runs += one.runs;
    sum.killed += one.killed;
    sum.complete = sum.complete && one.complete;
    if (!one.failure.empty()) {
      sum.failure = one.failure + ", killed after " + std::to_string(kill_after);
      return sum;
    }
    if (one.killed == 0) return sum;
  }
}

void fail(const std::string& sentence) {
  if (active != nullptr) active->fail(sentence);
}

void detail::before_access(const void* word, bool writes) noexcept {
  if (active != nullptr) active->before_access(word, writes);
}

}  // namespace zeropool::test
