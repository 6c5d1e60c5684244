// config/video-frames.yaml and what libavcodec asks for: its classes hold decoded frames of the sizes that it names.

#include <algorithm>
#include <cstddef>
#include <string>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "ffmpeg_frames/plane_layout.hpp"
#include "support/daemon_process.hpp"
#include "support/setup.hpp"

using namespace zeropool::testing;

namespace {

// What a decoder of 8-bit 4:2:0 asks for, for one frame.
std::size_t frame_bytes(AVCodecID codec, int width, int height) {
  const ffmpeg_frames::AvPointer<AVCodecContext> decoder(
      avcodec_alloc_context3(avcodec_find_decoder(codec)));
  REQUIRE(decoder);
  decoder->codec_id = codec;  // also where this build of libavcodec has no such decoder
  decoder->pix_fmt = AV_PIX_FMT_YUV420P;
  AVFrame frame{};
  frame.format = AV_PIX_FMT_YUV420P;
  frame.width = width;
  frame.height = height;
  ffmpeg_frames::PlaneLayout layout;
  REQUIRE(ffmpeg_frames::lay_out(*decoder, frame, layout) == 0);
  return layout.bytes;
}

struct Format {
  int width;
  int height;
  std::size_t class_bytes;
  std::size_t largest;      // as the file computes it, for rows in multiples of 64 bytes
  const char* in_the_file;  // the same number
};

constexpr Format kFormats[] = {{1920, 1080, std::size_t{3} << 20, 3'139'456, "3,139,456"},
                               {3840, 2160, std::size_t{12} << 20, 12'545'536, "12,545,536"}};

}  // namespace

TEST_CASE("video-frames: a decoded frame gets a buffer of the class that is meant for it") {
  const DaemonProcess daemon(small_setup("video-frames", 16));
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  const std::string file = small_setup("video-frames", 1);
  for (const Format& format : kFormats) {
    CHECK(file.find(format.in_the_file) != std::string::npos);
    std::size_t largest = 0;
    for (const AVCodecID codec :
         {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_MPEG4,
          AV_CODEC_ID_VC1, AV_CODEC_ID_VP8, AV_CODEC_ID_VP9, AV_CODEC_ID_AV1}) {
      CAPTURE(avcodec_get_name(codec));
      // Coded pictures are whole macroblocks, whatever is shown of them.
      for (const int height : {format.height, (format.height + 15) / 16 * 16}) {
        const std::size_t bytes = frame_bytes(codec, format.width, height);
        largest = std::max(largest, bytes);
        const zeropool::Buffer buffer = pool->get(bytes);
        REQUIRE_MESSAGE(buffer, buffer.error().sentence);
        CHECK(buffer.capacity() == format.class_bytes);
      }
    }
    // The most that any of them takes, on a machine with the longest vectors.
    CHECK(largest <= format.largest);
    CHECK(largest + 4096 > format.largest);
  }
}
