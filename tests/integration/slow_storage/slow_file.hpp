#pragma once
// SlowFile: a file on a FUSE mount whose reads are answered when the test says so, and not before.
//
// Its server is a child process. Reads into a file opened with O_DIRECT go straight into the reader's pages, when they
// are answered: whoever has those pages then.
//
// Thread safety: one thread's. Errors: throws when it cannot be mounted.

#include <cstddef>
#include <memory>
#include <string>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/program.hpp"

namespace zeropool::testing {

class SlowFile {
 public:
  static constexpr unsigned char kPoison = 0xbd;  // each byte of it
  static constexpr std::size_t kBytes = std::size_t{64} << 20;

  // Takes this process into a mount namespace of its own, where mounts come and go with it. Before the first SlowFile,
  // in a process of one thread. Empty, or why there can be none here.
  static std::string why_not();

  SlowFile();
  ~SlowFile();
  SlowFile(const SlowFile&) = delete;
  SlowFile& operator=(const SlowFile&) = delete;

  std::string path() const { return folder_.path() + "/mount/file"; }
  // Until so many more reads wait for their answers.
  void await_reads(std::size_t count);
  // Answers all that wait; returns when their bytes are where they go. How many.
  std::size_t answer();

 private:
  std::string mount() const { return folder_.path() + "/mount"; }

  TemporaryFolder folder_;
  std::unique_ptr<ChildProcess> server_;
};

}  // namespace zeropool::testing
