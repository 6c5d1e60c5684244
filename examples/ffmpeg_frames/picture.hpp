#pragma once
// What the decoder and the viewer say to each other, each message a packet of a SOCK_SEQPACKET pair.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <zeropool/zeropool.hpp>

#include "ffmpeg_frames/av.hpp"
#include "ffmpeg_frames/plane_layout.hpp"

namespace ffmpeg_frames {

constexpr std::size_t kWindow = 8;  // pictures with the viewer, or on their way to it
constexpr int kViewerFd = 3;        // its end of the pair

// 112 bytes in place of the pixels.
struct Picture {
  zeropool::Handle handle;
  std::uint64_t number = 0;  // 0: answer for all that you have
  std::int64_t pts = 0;
  std::int32_t width = 0;
  std::int32_t height = 0;
  std::int32_t format = AV_PIX_FMT_NONE;
  std::int32_t linesizes[kPlanes] = {};  // negative: rows from the bottom up
  std::int64_t offsets[kPlanes] = {};    // of the first row's start, in the buffer
};

using Sum = std::array<std::uint8_t, 16>;

struct Answer {
  std::uint64_t number = 0;
  std::uint32_t came_too_late = 0;  // the handle had expired: no sum
  Sum sum{};
};

Picture describe(const AVFrame& frame, std::uint64_t number, zeropool::Handle handle);

// MD5 of the visible pixels, row by row, as `ffmpeg -f framemd5` has it of the raw video. Nothing, where the picture does
// not lie within `bytes`.
std::optional<Sum> sum_of(const Picture& picture, std::span<const std::byte> bytes);

}  // namespace ffmpeg_frames
