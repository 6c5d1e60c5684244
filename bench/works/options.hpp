#pragma once
// What one process of a comparison is asked to do: one work, once.

#include <cstddef>
#include <string>
#include <vector>

namespace zeropool_bench {

// Exit statuses that the driver knows.
inline constexpr int kImpossible = 77;  // the peer has nothing for this work; not an error

struct Options {
  std::string work;
  std::size_t bytes = 65536;
  double seconds = 0.1;
  std::vector<int> cpus;  // as many as the work needs
  std::string variant;    // what it means is the peer's own
};

// Ends the process with the usage when the words make no sense.
Options read_options(int argc, char** argv);

// Ends the process: a sentence on standard error and status 1.
[[noreturn]] void fail(const std::string& sentence);
// The same with kImpossible.
[[noreturn]] void impossible(const std::string& sentence);

}  // namespace zeropool_bench
