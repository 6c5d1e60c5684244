#pragma once
// Folder: the files that the server may send, opened and read without blocking.
//
// A name is resolved by the kernel, beneath the folder and nowhere else: "..", absolute names and links that lead outside are
// refused (openat2, RESOLVE_BENEATH).

#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "file_server/chunks.hpp"
#include "file_server/ring.hpp"

namespace file_server {

// Closes itself.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();
  int fd() const { return fd_; }
  std::uint64_t bytes() const { return bytes_; }
  void set_bytes(std::uint64_t bytes) { bytes_ = bytes; }

 private:
  int fd_;
  std::uint64_t bytes_ = 0;
};

class Folder {
 public:
  // Throws std::system_error.
  Folder(const std::string& path, Ring& ring);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  // A regular file. Throws std::system_error.
  boost::asio::awaitable<File> open(std::string name);
  // From a multiple of kAlignment on, as much as there is, `bytes` at most. Throws std::system_error.
  boost::asio::awaitable<std::size_t> read(const File& file, std::uint64_t at, const Chunk& chunk,
                                           std::size_t bytes);

 private:
  Ring& ring_;
  int fd_;
};

}  // namespace file_server
