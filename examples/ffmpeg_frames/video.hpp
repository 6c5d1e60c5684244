#pragma once
// Video: the pictures of a file's best video stream, one after the other.
//
// Errors: throws where the file cannot be read, or there is no memory. Damaged packets are passed over, and counted.

#include <cstdint>
#include <string>

#include "ffmpeg_frames/av.hpp"
#include "ffmpeg_frames/frame_memory.hpp"

namespace ffmpeg_frames {

class Video {
 public:
  // `threads` as in AVCodecContext::thread_count: 0: as many as there are CPUs.
  Video(const std::string& path, int threads, FrameMemory& memory);

  // Null at the end.
  AvPointer<AVFrame> next();
  AVCodecContext& decoder() { return *decoder_; }
  std::uint64_t damaged_packets() const { return damaged_packets_; }

 private:
  bool feed();  // false: the decoder takes no more

  AvPointer<AVFormatContext> input_;
  AvPointer<AVCodecContext> decoder_;
  AvPointer<AVPacket> packet_;
  int stream_ = -1;
  bool flushed_ = false;
  std::uint64_t damaged_packets_ = 0;
};

}  // namespace ffmpeg_frames
