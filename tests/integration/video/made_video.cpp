#include "video/made_video.hpp"

#include <memory>
#include <stdexcept>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/md5.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

namespace zeropool::testing {
namespace {

struct Free {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeOutput {
  void operator()(AVFormatContext* output) const {
    avio_closep(&output->pb);
    avformat_free_context(output);
  }
};
struct FreeInput {
  void operator()(AVFormatContext* input) const { avformat_close_input(&input); }
};

int check(int result, const char* what) {
  if (result >= 0) return result;
  char text[AV_ERROR_MAX_STRING_SIZE];
  throw std::runtime_error(std::string(what) + ": " +
                           av_make_error_string(text, sizeof(text), result));
}

// A slope, and on it a square that moves: something to predict, and most of the picture stays as it was.
void paint(AVFrame& frame, int number) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor& about = *av_pix_fmt_desc_get(format);
  for (int plane = 0; plane < av_pix_fmt_count_planes(format); ++plane) {
    const int rows = plane == 0 ? frame.height : AV_CEIL_RSHIFT(frame.height, about.log2_chroma_h);
    const int bytes = av_image_get_linesize(format, frame.width, plane);
    // Samples of 9 to 16 bits: of their upper byte, what such a sample may have.
    const int depth = about.comp[plane].depth;
    const int upper = depth > 8 ? (1 << (depth - 8)) - 1 : 0xff;
    const int side = rows / 4;
    const int left = number * 3 % (bytes - side);
    const int top = number * 2 % (rows - side);
    for (int y = 0; y < rows; ++y) {
      std::uint8_t* row =
          frame.data[plane] + static_cast<std::ptrdiff_t>(y) * frame.linesize[plane];
      for (int x = 0; x < bytes; ++x) {
        const bool inside = x >= left && x < left + side && y >= top && y < top + side;
        const int value = inside ? 255 - number % 60 * 4 : x / 4 + y / 2 + plane * 40;
        row[x] = static_cast<std::uint8_t>(value & (x % 2 == 1 ? upper : 0xff));
      }
    }
  }
}

void write_packets(AVCodecContext& encoder, AVFormatContext& output, const AVFrame* frame) {
  check(avcodec_send_frame(&encoder, frame), "encoding");
  const std::unique_ptr<AVPacket, Free> packet(av_packet_alloc());
  for (;;) {
    const int result = avcodec_receive_packet(&encoder, packet.get());
    if (result == AVERROR(EAGAIN) || result == AVERROR_EOF) return;
    check(result, "encoding");
    packet->duration = 1;
    av_packet_rescale_ts(packet.get(), encoder.time_base, output.streams[0]->time_base);
    check(av_interleaved_write_frame(&output, packet.get()), "writing the video");
  }
}

ShownFrame shown(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const int bytes = check(av_image_get_buffer_size(format, frame.width, frame.height, 1), "size");
  std::vector<std::uint8_t> raw(static_cast<std::size_t>(bytes));
  check(av_image_copy_to_buffer(raw.data(), bytes, frame.data, frame.linesize, format, frame.width,
                                frame.height, 1),
        "raw picture");
  std::uint8_t sum[16];
  av_md5_sum(sum, raw.data(), raw.size());
  ShownFrame result{frame.pts, frame.width, frame.height, {}};
  for (const std::uint8_t byte : sum) {
    result.md5 += "0123456789abcdef"[byte >> 4];
    result.md5 += "0123456789abcdef"[byte & 15];
  }
  return result;
}

}  // namespace

void make_video(const std::string& path, const VideoPlan& plan) {
  const AVCodec* codec = avcodec_find_encoder_by_name(plan.encoder.c_str());
  if (codec == nullptr) throw std::runtime_error("libavcodec has no encoder " + plan.encoder);
  AVFormatContext* made = nullptr;
  check(avformat_alloc_output_context2(&made, nullptr, nullptr, path.c_str()), "container");
  const std::unique_ptr<AVFormatContext, FreeOutput> output(made);
  const std::unique_ptr<AVCodecContext, Free> encoder(avcodec_alloc_context3(codec));
  encoder->width = plan.width;
  encoder->height = plan.height;
  encoder->pix_fmt = av_get_pix_fmt(plan.pixel_format.c_str());
  encoder->time_base = {1, 25};
  encoder->framerate = {25, 1};
  encoder->bit_rate = 2'000'000;
  if ((output->oformat->flags & AVFMT_GLOBALHEADER) != 0) {
    encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  }
  for (const auto& [name, value] : plan.options) {
    check(av_opt_set(encoder.get(), name.c_str(), value.c_str(), AV_OPT_SEARCH_CHILDREN),
          name.c_str());
  }
  check(avcodec_open2(encoder.get(), codec, nullptr), plan.encoder.c_str());
  AVStream* stream = avformat_new_stream(output.get(), nullptr);
  stream->time_base = encoder->time_base;
  check(avcodec_parameters_from_context(stream->codecpar, encoder.get()), "stream");
  check(avio_open(&output->pb, path.c_str(), AVIO_FLAG_WRITE), path.c_str());
  check(avformat_write_header(output.get(), nullptr), "header");

  const std::unique_ptr<AVFrame, Free> frame(av_frame_alloc());
  frame->format = encoder->pix_fmt;
  frame->width = plan.width;
  frame->height = plan.height;
  check(av_frame_get_buffer(frame.get(), 0), "frame");
  for (int i = 0; i < static_cast<int>(plan.frames); ++i) {
    check(av_frame_make_writable(frame.get()), "frame");
    paint(*frame, i);
    frame->pts = i;
    write_packets(*encoder, *output, frame.get());
  }
  write_packets(*encoder, *output, nullptr);
  check(av_write_trailer(output.get()), "trailer");
}

std::vector<ShownFrame> shown_frames(const std::string& path) {
  AVFormatContext* opened = nullptr;
  check(avformat_open_input(&opened, path.c_str(), nullptr, nullptr), path.c_str());
  const std::unique_ptr<AVFormatContext, FreeInput> input(opened);
  check(avformat_find_stream_info(opened, nullptr), path.c_str());
  const AVCodecParameters& about = *opened->streams[0]->codecpar;
  const AVCodec* codec = avcodec_find_decoder(about.codec_id);
  const std::unique_ptr<AVCodecContext, Free> decoder(avcodec_alloc_context3(codec));
  check(avcodec_parameters_to_context(decoder.get(), &about), "stream");
  decoder->thread_count = 1;
  check(avcodec_open2(decoder.get(), codec, nullptr), "decoder");
  const std::unique_ptr<AVPacket, Free> packet(av_packet_alloc());
  const std::unique_ptr<AVFrame, Free> frame(av_frame_alloc());
  std::vector<ShownFrame> frames;
  for (bool more = true; more;) {
    more = av_read_frame(opened, packet.get()) >= 0;
    check(avcodec_send_packet(decoder.get(), more ? packet.get() : nullptr), "decoding");
    av_packet_unref(packet.get());
    while (avcodec_receive_frame(decoder.get(), frame.get()) >= 0) frames.push_back(shown(*frame));
  }
  return frames;
}

}  // namespace zeropool::testing
