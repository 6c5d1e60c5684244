#include "ffmpeg_frames/viewer_link.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <spawn.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace ffmpeg_frames {
namespace {

constexpr int kMostLostInARow = 3;  // without one answer in between: the fault is not theirs

[[noreturn]] void fail(const char* what, int error) {
  throw std::system_error(error, std::generic_category(), what);
}

bool peer_is_gone(int error) { return error == EPIPE || error == ECONNRESET; }

}  // namespace

ViewerLink::ViewerLink(FrameMemory& memory, std::vector<std::string> arguments,
                       std::uint64_t kill_after)
    : memory_(memory), arguments_(std::move(arguments)), kill_after_(kill_after) {
  start();
}

ViewerLink::~ViewerLink() {
  if (pid_ > 0)
    ::kill(pid_,
           SIGKILL);  // not finished: something has failed, and a stopped viewer would never end
  stop();
}

void ViewerLink::start() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair", errno);
  std::vector<char*> arguments;
  for (std::string& text : arguments_) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  // Spawned, not forked: the decoder's threads hold locks, and an exec'ed program has nothing of ours but its end.
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], kViewerFd);
  const int error =
      ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  fd_ = ends[0];
  if (error != 0) {
    pid_ = -1;
    fail("the viewer does not start", error);
  }
}

void ViewerLink::stop() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (pid_ < 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void ViewerLink::replace() {
  ::kill(pid_, SIGKILL);  // whatever is left of it
  stop();
  ++lost_viewers_;
  if (++lost_in_a_row_ == kMostLostInARow) {
    throw std::runtime_error("one viewer after the other ends before it has answered");
  }
  start();
  for (OnTheWay& one : on_the_way_) {
    if (one.sent && !one.answered) ++sent_again_;
    one.sent = false;
  }
}

bool ViewerLink::send_packet(const Picture& picture) {
  if (::send(fd_, &picture, sizeof(picture), MSG_NOSIGNAL) >= 0) return true;
  if (!peer_is_gone(errno)) fail("send", errno);
  return false;
}

void ViewerLink::send_what_waits() {
  for (std::size_t i = 0; i < on_the_way_.size();) {
    OnTheWay& one = on_the_way_[i++];
    if (one.sent || one.answered) continue;
    one.sent = send_packet(describe(*one.frame, one.number, memory_.lend(*one.frame)));
    if (!one.sent) {
      replace();
      i = 0;
    }
  }
}

void ViewerLink::send(AvPointer<AVFrame> frame) {
  while (on_the_way_.size() >= kWindow) receive_answer();
  on_the_way_.push_back({++frames_, std::move(frame), false, false, {}});
  send_what_waits();
}

void ViewerLink::receive_answer() {
  Answer answer;
  const ssize_t bytes = ::recv(fd_, &answer, sizeof(answer), 0);
  if (bytes == static_cast<ssize_t>(sizeof(answer))) {
    take(answer);
  } else if (bytes == 0 || (bytes < 0 && peer_is_gone(errno))) {
    replace();
  } else if (bytes > 0 || errno != EINTR) {
    fail("recv", bytes > 0 ? EBADMSG : errno);
  }
  send_what_waits();
}

void ViewerLink::take(const Answer& answer) {
  for (OnTheWay& one : on_the_way_) {
    if (one.number != answer.number) continue;
    if (answer.came_too_late != 0) {
      one.sent = false;
      ++sent_again_;
      break;
    }
    one.answered = true;
    one.sum = answer.sum;
    lost_in_a_row_ = 0;
    if (++answers_ == kill_after_) ::kill(pid_, SIGKILL);
    break;
  }
  print_answered();
}

void ViewerLink::print_answered() {
  for (; !on_the_way_.empty() && on_the_way_.front().answered; on_the_way_.pop_front()) {
    const OnTheWay& one = on_the_way_.front();
    memory_.take_back(*one.frame);
    std::printf("%llu, %lld, %dx%d, ", static_cast<unsigned long long>(one.number),
                static_cast<long long>(one.frame->pts), one.frame->width, one.frame->height);
    for (const std::uint8_t byte : one.sum) std::printf("%02x", byte);
    std::printf("\n");
  }
  std::fflush(stdout);
  if (std::ferror(stdout) != 0) throw std::runtime_error("standard output cannot be written");
}

void ViewerLink::finish() {
  while (!on_the_way_.empty()) {
    send_packet(Picture{});  // should it be gone, the next line finds out
    receive_answer();
  }
  stop();
}

}  // namespace ffmpeg_frames
