#pragma once
// Where the planes of a frame lie in one buffer, as libavcodec wants them: each row aligned for its vector instructions, each
// plane followed by bytes that they may read and write beyond it.

#include <array>
#include <cstddef>

#include "ffmpeg_frames/av.hpp"

namespace ffmpeg_frames {

constexpr int kPlanes = 4;

struct PlaneLayout {
  std::array<int, kPlanes> linesizes{};
  std::array<std::size_t, kPlanes> offsets{};  // from an address that is a multiple of `alignment`
  std::array<bool, kPlanes> used{};
  std::size_t alignment = 1;
  std::size_t bytes = 0;  // room to find such an address in among them
};

// 0, or libav's error: a frame that is no picture in memory, or larger than an int can say.
int lay_out(AVCodecContext& decoder, const AVFrame& frame, PlaneLayout& layout) noexcept;

}  // namespace ffmpeg_frames
