#pragma once
// A load whose need of memory rises and falls, and changes its size; the same for a pool and for an allocator.
//
// Thread safety: run() has a thread of its own that samples; all else is the caller's.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace zeropool_elastic {

// What is to be held at a time of the load.
struct Need {
  std::uint64_t bytes = 0;
  std::size_t buffer_bytes = 64 << 10;
};

struct Stretch {
  double begin = 0;  // seconds
  double end = 0;
  const char* name = "";
  bool constant = true;  // the same need all along
};

// The load's course, `scale` times as long as at 1, where it takes 210 seconds.
class Course {
 public:
  explicit Course(double scale) : scale_(scale) {}
  Need at(double seconds) const;
  double length() const { return stretches().back().end; }
  std::vector<Stretch> stretches() const;

 private:
  double scale_;
};

// Where buffers come from. `get` may refuse: null.
struct Source {
  std::function<void*(std::size_t bytes)> get;
  std::function<void(void*)> put;
  std::function<std::uint64_t()> footprint;  // bytes; by the thread that samples
};

struct Sample {
  double seconds = 0;
  double in_use_mib = 0;
  double footprint_mib = 0;
  std::uint64_t refusals = 0;  // so far
  double slowest_get_ms = 0;   // since the last sample
};

std::vector<Sample> run(const Course& course, const Source& source);

}  // namespace zeropool_elastic
