#include "program.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace zeropool::testing {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::vector<std::string> environment_of(const ProgramOptions& options) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(options.environment.begin(), options.environment.end(),
                                      [&](const auto& pair) { return pair.first == name; });
    if (!replaced) entries.push_back(text);
  }
  for (const auto& [name, value] : options.environment) {
    if (value) entries.push_back(name + "=" + *value);
  }
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

int open_output(const std::string& path) {
  const int fd = ::open(path.empty() ? "/dev/null" : path.c_str(),
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) refuse(path);
  return fd;
}

// A name without a slash, as a shell finds it.
std::string found_on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  if (path == nullptr || program.find('/') != std::string::npos) return program;
  std::istringstream folders(path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return program;
}

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment,
                         int out, int err, const std::optional<unsigned>& user, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (user && (::setgroups(0, nullptr) != 0 || ::setgid(*user) != 0 || ::setuid(*user) != 0)) {
    ::_exit(126);
  }
  if (user) ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // setuid has cleared it
  ::execve(program, arguments, environment);
  ::_exit(127);
}

End end_of(int status) {
  End end;
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

}  // namespace

TemporaryFolder::TemporaryFolder() : owner_(::getpid()) {
  path_ = (std::filesystem::temp_directory_path() / "zeropool-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) refuse("mkdtemp " + path_);
  ::chmod(path_.c_str(), 0755);
}

TemporaryFolder::~TemporaryFolder() {
  if (::getpid() != owner_) return;  // a forked child's copy
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
  if (!stream.flush()) refuse(path);
}

std::string describe(const End& end) {
  const std::string how = end.signal != 0 ? "killed by signal " + std::to_string(end.signal)
                                          : "exited with " + std::to_string(end.status);
  return how + (end.timed_out ? " (its time was up)" : "");
}

std::optional<End> wait_for_child(pid_t pid, std::chrono::milliseconds limit) {
  // A process descriptor wakes us; it may be missing in a container, then its end is looked for.
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::optional<End> end;
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) {
      end = end_of(status);
      break;
    }
    if (got < 0 && errno != EINTR) break;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd poll_entry{pidfd, POLLIN, 0};
    ::poll(&poll_entry, 1, static_cast<int>(pidfd < 0 ? 1 : left.count() + 1));
  }
  if (pidfd >= 0) ::close(pidfd);
  return end;
}

Program::Program(const ProgramOptions& options) {
  std::vector<std::string> arguments = options.arguments;
  const std::string program = found_on_path(arguments.at(0));
  std::vector<std::string> environment = environment_of(options);
  const std::vector<char*> argument_list = pointers(arguments);
  const std::vector<char*> environment_list = pointers(environment);
  const int out = open_output(options.output);
  const int err = options.errors.empty() ? out : open_output(options.errors);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    become(program.c_str(), argument_list.data(), environment_list.data(), out, err, options.user,
           parent);
  }
  if (err != out) ::close(err);
  ::close(out);
  if (pid_ < 0) refuse("fork");
}

Program::~Program() {
  if (end_) return;
  send(SIGKILL);
  wait(std::chrono::seconds(30));
}

void Program::send(int signal) {
  if (!end_ && pid_ > 0) ::kill(pid_, signal);
}

std::optional<End> Program::wait(std::chrono::milliseconds limit) {
  if (!end_) end_ = wait_for_child(pid_, limit);
  return end_;
}

End Program::finish(std::chrono::milliseconds limit) {
  if (const std::optional<End> end = wait(limit)) return *end;
  send(SIGKILL);
  End end = wait(std::chrono::seconds(30)).value_or(End{});
  end.timed_out = true;
  return end;
}

CommandResult run_command(ProgramOptions options) {
  const TemporaryFolder folder;
  options.output = folder.path() + "/out";
  options.errors = folder.path() + "/err";
  Program program(options);
  const End end = program.finish(std::chrono::seconds(60));
  CommandResult result;
  result.exit_code = end.signal != 0 ? 128 + end.signal : end.status;
  result.out = read_file(options.output);
  result.err = read_file(options.errors);
  return result;
}

}  // namespace zeropool::testing
