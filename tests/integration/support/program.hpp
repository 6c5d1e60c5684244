#pragma once
// Program: another program, started with its output in files, waited for, ended.
//
// Thread safety: one thread's, and that one must live as long as the program: it dies with it.

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace zeropool::testing {

// A private folder that others may pass through, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  pid_t owner_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);

struct ProgramOptions {
  std::vector<std::string> arguments;  // the first is the program, by path or found on $PATH
  // Set in its environment; without a value: taken out of it.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;
  std::string output;            // a file; empty: /dev/null
  std::string errors;            // a file; empty: where `output` goes
  std::optional<unsigned> user;  // user and group to run as; needs root
};

// How a process ended: by itself, or by a signal.
struct End {
  int status = -1;  // of exit(); -1: it was killed
  int signal = 0;
  bool timed_out = false;  // it had to be killed, its time was up

  bool well() const { return status == 0 && !timed_out; }
};

// "exited with 2", "killed by signal 9 (its time was up)"
std::string describe(const End& end);

class Program {
 public:
  explicit Program(const ProgramOptions& options);
  ~Program();  // kills what still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  // Has it ended, by now? Its end stays known.
  std::optional<End> ended() { return wait(std::chrono::milliseconds(0)); }
  // Empty: it still runs after `limit`.
  std::optional<End> wait(std::chrono::milliseconds limit);
  // Waits; kills it when its time is up.
  End finish(std::chrono::milliseconds limit);
  void send(int signal);

 private:
  pid_t pid_ = -1;
  std::optional<End> end_;
};

struct CommandResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs it to its end, 60 s at most.
CommandResult run_command(ProgramOptions options);

// Waits for the end of a child of this process. Empty: it still runs.
std::optional<End> wait_for_child(pid_t pid, std::chrono::milliseconds limit);

}  // namespace zeropool::testing
