#include <cstdlib>
#include <unistd.h>

#include <zeropool/lib/socket_path.hpp>

namespace zeropool::inline v1::lib {
namespace {

constexpr const char* kSystemPath = "/run/zeropool/zeropoold.sock";

std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string{} : std::string(value);
}

}  // namespace

std::string find_socket_path(const std::string& given) {
  if (!given.empty()) return given;
  if (std::string path = environment("ZEROPOOL_SOCKET"); !path.empty()) return path;
  if (const std::string folder = environment("XDG_RUNTIME_DIR"); !folder.empty()) {
    std::string path = folder + "/zeropool/zeropoold.sock";
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return kSystemPath;
}

std::string default_listen_path() {
  if (std::string path = environment("ZEROPOOL_SOCKET"); !path.empty()) return path;
  if (::geteuid() == 0) return kSystemPath;
  if (const std::string folder = environment("XDG_RUNTIME_DIR"); !folder.empty()) {
    return folder + "/zeropool/zeropoold.sock";
  }
  return "/tmp/zeropool-" + std::to_string(::geteuid()) + "/zeropoold.sock";
}

}  // namespace zeropool::v1::lib
