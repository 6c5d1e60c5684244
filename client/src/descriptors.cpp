#include "descriptors.hpp"

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
      file.inode = info.st_ino;
    }
  }
}

bool Descriptors::still_there(Which which) const noexcept {
  const File& file = files_[which];
  struct stat info {};
  return file.fd >= 0 && ::fstat(file.fd, &info) == 0 && info.st_dev == file.device &&
         info.st_ino == file.inode;
}

void Descriptors::ring() const noexcept {
  if (ours() && still_there(kDoorbell)) ::eventfd_write(files_[kDoorbell].fd, 1);  // D1
}

void Descriptors::close() noexcept {
  const bool all_ours = ours();
  for (const Which which : {kSocket, kDoorbell, kWake}) {
    if (all_ours && still_there(which)) ::close(files_[which].fd);  // D1
    files_[which] = File{};
  }
}

}  // namespace zeropool::client
