#include "ffmpeg_frames/plane_layout.hpp"

#include <algorithm>
#include <climits>

namespace ffmpeg_frames {
namespace {

bool rows_are_aligned(const int* linesizes, const int* alignments) {
  for (int i = 0; i < kPlanes; ++i) {
    if (linesizes[i] % alignments[i] != 0) return false;
  }
  return true;
}

std::size_t round_up(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

}  // namespace

int lay_out(AVCodecContext& decoder, const AVFrame& frame, PlaneLayout& layout) noexcept {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  int width = frame.width;
  int height = frame.height;
  int alignments[AV_NUM_DATA_POINTERS];
  // Whole macroblocks, and the edge that a codec paints around the picture.
  avcodec_align_dimensions2(&decoder, &width, &height, alignments);
  for (int& alignment : alignments) alignment = std::max(alignment, 1);
  const int widest = *std::max_element(alignments, alignments + kPlanes);

  // All rows grow together: codecs rely on a chroma row being that part of a luma row which its subsampling says.
  std::array<int, kPlanes>& linesizes = layout.linesizes;
  width = static_cast<int>(round_up(static_cast<std::size_t>(width), widest));
  do {
    if (const int error = av_image_fill_linesizes(linesizes.data(), format, width); error < 0) {
      return error;
    }
    if (width > INT_MAX - widest) return AVERROR(EINVAL);
    width += widest;
  } while (!rows_are_aligned(linesizes.data(), alignments));

  std::size_t plane_bytes[kPlanes];
  const std::ptrdiff_t rows[kPlanes] = {linesizes[0], linesizes[1], linesizes[2], linesizes[3]};
  if (const int error = av_image_fill_plane_sizes(plane_bytes, format, height, rows); error < 0) {
    return error;
  }
  layout.alignment = static_cast<std::size_t>(widest);
  layout.bytes = layout.alignment;
  for (int i = 0; i < kPlanes; ++i) {
    layout.used[i] = plane_bytes[i] > 0;
    if (!layout.used[i]) continue;
    layout.offsets[i] = layout.bytes - layout.alignment;
    layout.bytes += round_up(plane_bytes[i] + AV_INPUT_BUFFER_PADDING_SIZE, layout.alignment);
  }
  return layout.bytes <= INT_MAX ? 0 : AVERROR(EINVAL);
}

}  // namespace ffmpeg_frames
