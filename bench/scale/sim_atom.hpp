#pragma once
// An atomic word of the simulated machine: what lib/ is a template on. The value changes when the line has come.

#include <atomic>

#include "machine.hpp"

namespace zeropool_scale {

template <typename T>
class SimAtom {
 public:
  T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
    reach(Machine::Access::kLoad);
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kStore);
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kExchange);
    const T before = value_;
    value_ = value;
    return before;
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kExchange);
    if (value_ == expected) {
      value_ = desired;
      return true;
    }
    expected = value_;
    return false;
  }
  T fetch_add(T by, std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kExchange);
    const T before = value_;
    value_ = static_cast<T>(value_ + by);
    return before;
  }
  T fetch_or(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kExchange);
    const T before = value_;
    value_ = static_cast<T>(value_ | bits);
    return before;
  }
  T fetch_and(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    reach(Machine::Access::kExchange);
    const T before = value_;
    value_ = static_cast<T>(value_ & bits);
    return before;
  }

 private:
  void reach(Machine::Access kind) const noexcept {
    if (Machine* machine = Machine::running()) machine->access(this, kind);
  }
  T value_{};
};

}  // namespace zeropool_scale
