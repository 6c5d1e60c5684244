#pragma once
// ViewerLink: hands pictures to a viewer, and their sums to standard output, in order; replaces a viewer that dies.
//
// A frame is kept until its sum has come (FrameMemory's M2). What a dead viewer had not answered for goes to the next one; so
// no frame is lost and none is printed twice.
// Thread safety: one thread's.
// Crash safety: only the viewer has the other end of the socket, so its death, by whatever, ends every wait for it; and the
// death of this process ends the viewer's.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <sys/types.h>
#include <vector>

#include "ffmpeg_frames/av.hpp"
#include "ffmpeg_frames/frame_memory.hpp"
#include "ffmpeg_frames/picture.hpp"

namespace ffmpeg_frames {

class ViewerLink {
 public:
  // `arguments` start this program as a viewer. `kill_after`: so many answers, then SIGKILL; 0: never.
  ViewerLink(FrameMemory& memory, std::vector<std::string> arguments, std::uint64_t kill_after);
  ViewerLink(const ViewerLink&) = delete;
  ViewerLink& operator=(const ViewerLink&) = delete;
  ~ViewerLink();

  // Waits while kWindow are on the way.
  void send(AvPointer<AVFrame> frame);
  // Waits for all answers, and for the viewer's end.
  void finish();

  std::uint64_t lost_viewers() const { return lost_viewers_; }
  std::uint64_t sent_again() const { return sent_again_; }

 private:
  struct OnTheWay {
    std::uint64_t number = 0;
    AvPointer<AVFrame> frame;
    bool sent = false;
    bool answered = false;
    Sum sum{};
  };

  void start();
  void stop();
  void replace();
  void send_what_waits();
  bool send_packet(const Picture& picture);
  void receive_answer();
  void take(const Answer& answer);
  void print_answered();

  FrameMemory& memory_;
  std::vector<std::string> arguments_;
  std::uint64_t kill_after_;
  pid_t pid_ = -1;
  int fd_ = -1;
  std::deque<OnTheWay> on_the_way_;
  std::uint64_t frames_ = 0;
  std::uint64_t answers_ = 0;
  std::uint64_t lost_viewers_ = 0;
  std::uint64_t sent_again_ = 0;
  int lost_in_a_row_ = 0;
};

}  // namespace ffmpeg_frames
