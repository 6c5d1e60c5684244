#include "descriptors.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace zeropool::client {

void Descriptors::take(lib::UniqueFd socket, lib::UniqueFd doorbell, lib::UniqueFd wake) noexcept {
  close();
  lib::UniqueFd* const given[kCount] = {&socket, &doorbell, &wake};
  for (std::size_t which = 0; which < kCount; ++which) {
    File& file = files_[which];
    file.fd = given[which]->release();
    struct stat info {};
    if (::fstat(file.fd, &info) == 0) {
      file.device = info.st_dev;
      file.inode.store(info.st_ino, std::memory_order_relaxed);
    }
  }
}

bool Descriptors::still_there(Which which) const noexcept {
  const File& file = files_[which];
  struct stat info {};
  return file.fd >= 0 && ::fstat(file.fd, &info) == 0 && info.st_dev == file.device &&
         info.st_ino == file.inode.load(std::memory_order_relaxed);
}

bool Descriptors::replace_socket(lib::UniqueFd socket) noexcept {
  struct stat info {};
  if (!ours() || ::fstat(socket.get(), &info) != 0) return false;
  File& file = files_[kSocket];
  if (::dup3(socket.get(), file.fd, O_CLOEXEC) < 0) return false;
  // Until here it is nobody's to those who look: no daemon yet, and within the grace.
  file.inode.store(info.st_ino, std::memory_order_relaxed);
  return true;
}

void Descriptors::ring() const noexcept {
  if (ours() && still_there(kDoorbell)) ::eventfd_write(files_[kDoorbell].fd, 1);  // D1
}

void Descriptors::close() noexcept {
  const bool all_ours = ours();
  for (const Which which : {kSocket, kDoorbell, kWake}) {
    if (all_ours && still_there(which)) ::close(files_[which].fd);  // D1
    files_[which].fd = -1;
    files_[which].device = 0;
    files_[which].inode.store(0, std::memory_order_relaxed);
  }
}

}  // namespace zeropool::client
