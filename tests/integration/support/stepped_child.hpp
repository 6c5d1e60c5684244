#pragma once
// SteppedChild: a forked child that this process executes one instruction at a time, between two marks.
//
// The body prepares, calls `begin`, does the operation under test, and calls `end`. A system call is one step.
// A step costs some 25 us where the machine is a virtual one; run_to() is for getting far.
//
// Thread safety: one thread's; that thread traces the child.

#include <cstdint>
#include <functional>
#include <vector>

#include "child_process.hpp"

namespace zeropool::testing {

class SteppedChild {
 public:
  struct Marks {
    void begin() const;
    void end() const;
  };
  using Body = std::function<void(const Marks& marks)>;

  // Is a process allowed to trace its child here?
  static bool permitted();

  // Returns when the child stands at `begin`. Throws when it ends before.
  explicit SteppedChild(const Body& body);

  // Up to `count` instructions. Returns how many were made: fewer when `end` was reached.
  std::uint64_t step(std::uint64_t count);
  // As step(), but from one system call's entry or return to the next.
  std::uint64_t step_calls(std::uint64_t count);
  // As step(), to the next mark; where the program counter stood before each.
  std::vector<std::uintptr_t> trace();
  // Without steps to the first time that the program counter is `place`. False: nothing was done, it cannot be had
  // here. It may come to its end instead.
  bool run_to(std::uintptr_t place);
  // Runs it to `end`.
  void finish();
  bool at_end() const { return at_end_; }
  void kill() { child_.kill(); }

 private:
  // The signal that stopped it next; throws when it ended instead.
  int wait_for_stop();
  bool step_once(bool whole_call = false);

  ChildProcess child_;
  bool at_end_ = false;
};

}  // namespace zeropool::testing
