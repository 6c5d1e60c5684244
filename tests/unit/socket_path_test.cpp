#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <unistd.h>

#include <doctest/doctest.h>

#include <zeropool/lib/socket_path.hpp>

using namespace zeropool::lib;

namespace {

// Sets a variable, or takes it away (null), until the end of the scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* before = ::getenv(name);
    had_ = before != nullptr;
    if (had_) before_ = before;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { had_ ? ::setenv(name_, before_.c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  bool had_ = false;
  std::string before_;
};

}  // namespace

TEST_CASE(
    "a path is what is given, else the environment's, else the runtime folder's, else the "
    "system's") {
  std::string pattern = (std::filesystem::temp_directory_path() / "zeropool-path-XXXXXX").string();
  const std::string folder = ::mkdtemp(pattern.data());
  const Variable runtime("XDG_RUNTIME_DIR", folder.c_str());
  {
    const Variable socket("ZEROPOOL_SOCKET", "/environment.sock");
    CHECK(find_socket_path("/given.sock") == "/given.sock");
    CHECK(find_socket_path("") == "/environment.sock");
    CHECK(default_listen_path() == "/environment.sock");
  }
  const Variable socket("ZEROPOOL_SOCKET", nullptr);
  CHECK(find_socket_path("") == "/run/zeropool/zeropoold.sock");
  std::filesystem::create_directory(folder + "/zeropool");
  const std::string own = folder + "/zeropool/zeropoold.sock";
  std::ofstream{own};
  CHECK(find_socket_path("") == own);
  CHECK(default_listen_path() == (::geteuid() == 0 ? "/run/zeropool/zeropoold.sock" : own));
  std::filesystem::remove_all(folder);
}

TEST_CASE("an empty variable is as none") {
  const Variable socket("ZEROPOOL_SOCKET", "");
  const Variable runtime("XDG_RUNTIME_DIR", "");
  CHECK(find_socket_path("") == "/run/zeropool/zeropoold.sock");
  const std::string expected =
      ::geteuid() == 0 ? "/run/zeropool/zeropoold.sock"
                       : "/tmp/zeropool-" + std::to_string(::geteuid()) + "/zeropoold.sock";
  CHECK(default_listen_path() == expected);
}
