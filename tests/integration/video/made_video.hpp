#pragma once
// Videos made by libavcodec's encoders, and what its decoders show of them in memory of their own, on one thread: the truth
// that examples/ffmpeg_frames is compared with.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace zeropool::testing {

struct VideoPlan {
  std::string encoder;       // by libavcodec's name
  std::string pixel_format;  // "yuv420p"
  int width = 640;
  int height = 360;
  std::size_t frames = 60;
  std::vector<std::pair<std::string, std::string>> options = {};  // of the encoder
};

// The container is what the path's ending says. Throws where libav fails.
void make_video(const std::string& path, const VideoPlan& plan);

struct ShownFrame {
  std::int64_t pts = 0;
  int width = 0;
  int height = 0;
  std::string md5;  // of the raw picture, its rows without padding
};

std::vector<ShownFrame> shown_frames(const std::string& path);

}  // namespace zeropool::testing
