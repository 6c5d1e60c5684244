#pragma once
// FileCrowd: thousands of clients of examples/file_server on one thread: each asks for files, one after the other, and compares
// every byte that comes.
//
// Thread safety: one thread's.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace zeropool::testing {

// Files of pseudo-random bytes, in a folder and in memory.
class FileSet {
 public:
  struct Item {
    std::string name;
    std::string bytes;
  };
  // The sizes that are an edge of something, then `more` of up to `most_bytes`.
  FileSet(const std::string& folder, std::size_t more, std::size_t most_bytes);
  const std::vector<Item>& items() const { return items_; }
  const Item& largest() const;

 private:
  std::vector<Item> items_;
};

struct CrowdPlan {
  std::size_t clients = 2000;
  std::size_t files = 3;  // that each asks for
  std::size_t deaf =
      0;  // of them: ask for the largest file, and read only when all others are through
  std::size_t quitters = 0;  // of them: hang up in the middle of the largest file
  std::chrono::seconds limit{240};
};

struct CrowdReport {
  std::uint64_t files = 0;  // received whole and right
  std::uint64_t bytes = 0;
  std::uint64_t wrong = 0;       // answers that were not what was asked for
  std::uint64_t refused = 0;     // connections that the server did not take, or hung up on
  std::uint64_t unfinished = 0;  // clients whose time was up
  std::size_t most_at_once = 0;  // clients that were connected when the first one asked
  double seconds = 0;            // from the first question to the end
  std::vector<float>
      file_ms;  // from the question to the last byte; of those that read all the time
};

CrowdReport run_crowd(std::uint16_t port, const FileSet& files, const CrowdPlan& plan);

// The answer to one line: as much as comes until the server hangs up, or the answer is whole.
std::string ask(std::uint16_t port, const std::string& line);

}  // namespace zeropool::testing
