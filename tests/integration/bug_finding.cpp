// What libzeropool does so that the bugs of other people's programs are found: under AddressSanitizer, under Valgrind,
// and with $ZEROPOOL_DEBUG. The programs with the bugs are faulty/faulty_client.cpp's.

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"
#include "support/program.hpp"

using namespace zeropool::testing;

namespace {

constexpr const char* kConfig =
    "budget: 128MiB\npools: {frames: {classes: [4KiB, 64KiB], wait: {timeout: 5s}}}\n";

const std::vector<std::string> kReadFaults = {"read-after-put", "read-after-c-put",
                                              "read-after-put-ptr", "read-after-batch",
                                              "read-after-release"};
const std::vector<std::string> kWriteFaults = {"write-after-put", "write-beyond-size",
                                               "write-beyond-size-before-release",
                                               "write-beyond-new-size"};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
#ifdef FAULTY_CLIENT
std::size_t lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}
#endif

// A program of its own with a daemon of its own: what one leaves does not meet the next.
CommandResult run(std::vector<std::string> arguments,
                  const std::optional<std::string>& debug = std::nullopt) {
  const DaemonProcess daemon(kConfig);
  ProgramOptions options;
  options.arguments = std::move(arguments);
  options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()},
                         {"ZEROPOOL_DEBUG", debug},
                         {"ASAN_OPTIONS", "abort_on_error=0:exitcode=41:detect_leaks=0"}};
  return run_command(options);
}

#ifdef FAULTY_CLIENT_ASAN
CommandResult run_asan(const std::string& fault,
                       const std::optional<std::string>& debug = std::nullopt) {
  return run({FAULTY_CLIENT_ASAN, fault}, debug);
}
#endif
#ifdef VALGRIND
// What Valgrind says of itself, as that it does not know a system call (pidfd_open, before 3.20), begins with "--".
std::string without_its_own_lines(const std::string& text) {
  std::string rest;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("--", 0) != 0) rest += line + "\n";
  }
  return rest;
}
CommandResult run_valgrind(const std::string& fault,
                           const std::optional<std::string>& debug = std::nullopt) {
  return run(
      {VALGRIND, "--quiet", "--error-exitcode=42", "--trace-children=no", FAULTY_CLIENT, fault},
      debug);
}
#endif
#ifdef FAULTY_CLIENT
CommandResult run_plain(const std::string& fault,
                        const std::optional<std::string>& debug = std::nullopt) {
  return run({FAULTY_CLIENT, fault}, debug);
}
#endif

}  // namespace

#ifdef FAULTY_CLIENT_ASAN
TEST_CASE("AddressSanitizer reports a read after put or release, and a write beyond the size") {
  for (const auto& faults : {kReadFaults, kWriteFaults}) {
    for (const std::string& fault : faults) {
      CAPTURE(fault);
      const CommandResult result = run_asan(fault);
      CHECK(result.exit_code == 41);
      CHECK(has(result.err, "AddressSanitizer: use-after-poison"));
    }
  }
}

TEST_CASE("AddressSanitizer has nothing to say about a program that is clean") {
  for (const char* debug : {"", "poison,guard"}) {
    const CommandResult result = run_asan("clean", debug);
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
    CHECK(has(result.out, "mapped in the child"));
    CHECK(has(result.out, "mapped after the close"));
  }
}

TEST_CASE("ZEROPOOL_DEBUG=off keeps AddressSanitizer out of it") {
  const CommandResult result = run_asan("read-after-put", "off");
  CHECK(result.exit_code == 0);
  CHECK(result.err == "");
}
#endif

#ifdef VALGRIND
// Not all faults: a run takes seconds.
TEST_CASE("Valgrind reports a read after put or release, and a write beyond the size") {
  const std::pair<const char*, const char*> faults[] = {{"read-after-put", "Invalid read"},
                                                        {"read-after-batch", "Invalid read"},
                                                        {"read-after-release", "Invalid read"},
                                                        {"write-beyond-size", "Invalid write"}};
  for (const auto& [fault, what] : faults) {
    CAPTURE(fault);
    const CommandResult result = run_valgrind(fault);
    CHECK(result.exit_code == 42);
    CHECK(has(result.err, what));
  }
}

TEST_CASE("Valgrind has nothing to say about a program that is clean") {
  const CommandResult result = run_valgrind("clean", "poison,guard");
  CHECK(result.exit_code == 0);
  CHECK(without_its_own_lines(result.err) == "");
}
#endif

#ifdef FAULTY_CLIENT
TEST_CASE(
    "ZEROPOOL_DEBUG=poison finds a write after put at the next get, of this process or another") {
  for (const char* fault : {"write-after-put", "write-after-put-seen-by-another"}) {
    CAPTURE(fault);
    const CommandResult result = run_plain(fault, "poison");
    CHECK(result.exit_code == 0);
    CHECK(lines(result.err) == 1);
    CHECK(has(result.err, "written after its put: buffer at 0x"));
    CHECK(has(result.err, "of pool frames, 65536 bytes, byte 1234"));
    CHECK(has(result.out, "writes_after_put 1\n"));
  }
}

TEST_CASE("ZEROPOOL_DEBUG=guard finds a write beyond the size at put and at release") {
  const std::pair<const char*, const char*> faults[] = {
      {"write-beyond-size", "size 5000 of 65536 bytes, byte 5003"},
      {"write-beyond-size-before-release", "size 5000 of 65536 bytes, byte 5000"},
      {"write-beyond-new-size", "size 10000 of 65536 bytes, byte 10000"}};
  for (const auto& [fault, what] : faults) {
    CAPTURE(fault);
    const CommandResult result = run_plain(fault, "guard");
    CHECK(result.exit_code == 0);
    CHECK(lines(result.err) == 1);
    CHECK(has(result.err, "written beyond its size: buffer at 0x"));
    CHECK(has(result.err, what));
    CHECK(has(result.out, "writes_beyond_size 1\n"));
  }
}

TEST_CASE("a clean program is clean with every word, and a faulty one runs as ever with none") {
  for (const char* debug : {"", "poison", "guard", "poison,guard", "off"}) {
    CAPTURE(debug);
    const CommandResult result = run_plain("clean", debug);
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
  }
  for (const std::string& fault : kWriteFaults) {
    const CommandResult result = run_plain(fault);
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
  }
}

TEST_CASE("what was put without the word is not checked by a process that has it") {
  const DaemonProcess daemon(kConfig);
  const auto with = [&](const std::string& debug) {
    ProgramOptions options;
    options.arguments = {FAULTY_CLIENT, "clean"};
    options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()}, {"ZEROPOOL_DEBUG", debug}};
    return run_command(options);
  };
  for (const char* debug : {"poison", "", "poison,guard", "", "poison"}) {
    const CommandResult result = with(debug);
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
  }
}

TEST_CASE("an unknown word of ZEROPOOL_DEBUG is named, with those that there are, and ignored") {
  const CommandResult result = run_plain("write-after-put", "posion,poison");
  CHECK(result.exit_code == 0);
  CHECK(has(result.err, "ZEROPOOL_DEBUG: there is no 'posion'; there are: poison, guard, off"));
  CHECK(has(result.err, "written after its put"));
  CHECK(lines(result.err) == 2);
}
#endif
