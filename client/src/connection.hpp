#pragma once
// The way to zeropoold: connect, attach, map what it sends.
//
// Thread safety: functions; the result is a value.

#include <cstdint>
#include <string>
#include <vector>

#include <zeropool/lib/error_code.hpp>
#include <zeropool/lib/segment.hpp>
#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::client {

struct AttachWish {
  std::string socket;  // as given by the user, may be empty
  std::string pool_name;
  std::string client_name;
  std::int64_t timeout_ns = 0;
  int fd = -1;             // connected already, or -1
  bool direct_io = false;  // kAttachDirectIo
  std::uint32_t sample_gets =
      0;  // one get in so many, on average; 0: as $ZEROPOOL_SAMPLE_STACKS says
};

struct Attached {
  lib::ErrorCode code = lib::ErrorCode::ok;
  std::string sentence;
  std::string socket_path;
  std::uint32_t client_id = 0;
  std::uint32_t epoch = 0;
  std::uint32_t client_number = 0;
  std::uint32_t users = 0;  // lib::user_stamp() of this process, as the daemon knows its user
  lib::UniqueFd socket;
  lib::UniqueFd doorbell;
  lib::UniqueFd wake;
  lib::Mapping control;
  std::vector<lib::Mapping> data;
};

Attached attach(const AttachWish& wish);

// A connected socket, or none and errno.
lib::UniqueFd connect_socket(const std::string& path);

// "no zeropoold answers at PATH (...): ..."
std::string no_daemon_sentence(const std::string& path, int error);

}  // namespace zeropool::client
