#pragma once
// The set-ups of config/, made small enough for any machine.

#include <string>

namespace zeropool::testing {

// config/NAME.yaml with every amount of memory in it (budget, reserved, limit, client_quota, low, high) divided by
// `divisor`, and its other keys as they are. Throws where there is no such file, or no amount in it.
std::string small_setup(const std::string& name, unsigned divisor);

}  // namespace zeropool::testing
