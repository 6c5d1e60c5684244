#include "ffmpeg_frames/picture.hpp"

#include <algorithm>
#include <new>

namespace ffmpeg_frames {
namespace {

constexpr int kPaletteBytes = 4 * 256;

struct Rows {
  std::int64_t count = 0;
  std::int64_t bytes = 0;  // of pixels in each
};

Rows rows_of(const AVPixFmtDescriptor& format, const Picture& picture, int plane) {
  const auto pixels = static_cast<AVPixelFormat>(picture.format);
  if (plane == 1 && (format.flags & AV_PIX_FMT_FLAG_PAL) != 0) return {1, kPaletteBytes};
  if (plane >= av_pix_fmt_count_planes(pixels)) return {};
  const bool chroma = plane == 1 || plane == 2;
  return {chroma ? AV_CEIL_RSHIFT(picture.height, format.log2_chroma_h) : picture.height,
          av_image_get_linesize(pixels, picture.width, plane)};
}

bool lies_within(const Picture& picture, int plane, Rows rows, std::size_t bytes) {
  const std::int64_t first = picture.offsets[plane];
  const std::int64_t last = first + (rows.count - 1) * picture.linesizes[plane];
  const auto end = static_cast<std::int64_t>(bytes);
  return rows.bytes > 0 && std::min(first, last) >= 0 && std::max(first, last) + rows.bytes <= end;
}

}  // namespace

Picture describe(const AVFrame& frame, std::uint64_t number, zeropool::Handle handle) {
  Picture picture;
  picture.handle = handle;
  picture.number = number;
  picture.pts = frame.pts;
  picture.width = frame.width;
  picture.height = frame.height;
  picture.format = frame.format;
  for (int i = 0; i < kPlanes; ++i) {
    picture.linesizes[i] = frame.linesize[i];
    if (frame.data[i] != nullptr) picture.offsets[i] = frame.data[i] - frame.buf[0]->data;
  }
  return picture;
}

std::optional<Sum> sum_of(const Picture& picture, std::span<const std::byte> bytes) {
  const AVPixFmtDescriptor* format =
      av_pix_fmt_desc_get(static_cast<AVPixelFormat>(picture.format));
  if (format == nullptr || picture.height <= 0) return std::nullopt;
  AvPointer<AVMD5> state(av_md5_alloc());
  if (!state) throw std::bad_alloc();
  av_md5_init(state.get());
  for (int plane = 0; plane < kPlanes; ++plane) {
    const Rows rows = rows_of(*format, picture, plane);
    if (rows.count == 0) continue;
    if (!lies_within(picture, plane, rows, bytes.size())) return std::nullopt;
    for (std::int64_t row = 0; row < rows.count; ++row) {
      const std::byte* start =
          bytes.data() + picture.offsets[plane] + row * picture.linesizes[plane];
      av_md5_update(state.get(), reinterpret_cast<const std::uint8_t*>(start),
                    static_cast<std::size_t>(rows.bytes));
    }
  }
  Sum sum{};
  av_md5_final(state.get(), sum.data());
  return sum;
}

}  // namespace ffmpeg_frames
