#include "descriptors.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>

namespace zeropool::client {

void Descriptors::take(lib::UniqueFd socket, lib::UniqueFd doorbell, lib::UniqueFd wake) noexcept {
  close();
  lib::UniqueFd* const given[kGiven] = {&socket, &doorbell, &wake};
  for (std::size_t which = 0; which < kGiven; ++which) {
    keep(static_cast<Which>(which), std::move(*given[which]));
  }
}

void Descriptors::keep(Which which, lib::UniqueFd fd) noexcept {
  File& file = files_[which];
  file.fd = fd.release();
  struct stat info {};
  if (::fstat(file.fd, &info) == 0) {
    file.device = info.st_dev;
    file.inode.store(info.st_ino, std::memory_order_relaxed);
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

int Descriptors::events() const noexcept {
  return ours() && still_there(kEvents) && still_there(kTimer) ? files_[kEvents].fd : -1;  // D1
}

int Descriptors::open_events() noexcept {
  if (files_[kEvents].fd >= 0 || !ours() || !still_there(kWake)) {
    const int there = events();
    if (there < 0) errno = EBADF;
    return there;
  }
  lib::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  lib::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer || !epoll) return -1;
  for (const auto& [fd, which] :
       {std::pair(files_[kWake].fd, kWake), std::pair(timer.get(), kTimer)}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = which;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return -1;
  }
  keep(kTimer, std::move(timer));
  keep(kEvents, std::move(epoll));
  return files_[kEvents].fd;
}

void Descriptors::set_timer(std::int64_t at_ns) const noexcept {
  constexpr std::int64_t kSecond = 1'000'000'000;
  at_ns = std::max<std::int64_t>(at_ns, 1);  // 0 would switch it off
  itimerspec when{};
  when.it_value.tv_sec = at_ns / kSecond;
  when.it_value.tv_nsec = at_ns % kSecond;
  ::timerfd_settime(files_[kTimer].fd, TFD_TIMER_ABSTIME, &when, nullptr);
}

Descriptors::Events Descriptors::take_events() const noexcept {
  Events taken;
  epoll_event ready[2];
  const int count = ::epoll_wait(files_[kEvents].fd, ready, 2, 0);
  for (int i = 0; i < count; ++i) {
    const bool timer = ready[i].data.u32 == kTimer;
    (timer ? taken.timer : taken.woken) = true;
    const int fd = files_[timer ? kTimer : kWake].fd;
    std::uint64_t
        bytes[8];  // of the socket: as many as were written meanwhile, or the rest the next time
    // Whoever was faster has taken it: then nothing is there.
    const ssize_t got = ::read(fd, bytes, sizeof(bytes));
    // The daemon has been stopped: the end of its socket would be readable for ever.
    if (got == 0) ::epoll_ctl(files_[kEvents].fd, EPOLL_CTL_DEL, fd, nullptr);
  }
  return taken;
}

void Descriptors::close() noexcept {
  const bool all_ours = ours();
  for (const Which which : {kSocket, kDoorbell, kWake, kTimer, kEvents}) {
    if (all_ours && still_there(which)) ::close(files_[which].fd);  // D1
    files_[which].fd = -1;
    files_[which].device = 0;
    files_[which].inode.store(0, std::memory_order_relaxed);
  }
}

}  // namespace zeropool::client
