#pragma once
// libav's headers, which are C, and owners for what they hand out.

#include <memory>
#include <stdexcept>
#include <string>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/md5.h>
#include <libavutil/pixdesc.h>
}

namespace ffmpeg_frames {

struct AvFree {
  void operator()(AVFormatContext* input) const { avformat_close_input(&input); }
  void operator()(AVCodecContext* decoder) const { avcodec_free_context(&decoder); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVMD5* sum) const { av_free(sum); }
};
template <typename T>
using AvPointer = std::unique_ptr<T, AvFree>;

// av_err2str() is a macro that C++ refuses.
inline std::string av_text(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE];
  return av_make_error_string(text, sizeof(text), error);
}

inline int av_check(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + av_text(result));
  return result;
}

template <typename T>
T* av_check_memory(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

}  // namespace ffmpeg_frames
