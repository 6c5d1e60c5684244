#include "ffmpeg_frames/frame_memory.hpp"

#include <cstdint>
#include <cstdio>
#include <new>
#include <utility>

#include "ffmpeg_frames/plane_layout.hpp"

namespace ffmpeg_frames {
namespace {

// What stands behind an AVBuffer: the slot, as the decoder's own or as shared with readers.
struct FrameSlot {
  zeropool::Buffer own;
  zeropool::SharedBuffer shared;
};

FrameSlot& slot_of(const AVFrame& frame) {
  return *static_cast<FrameSlot*>(av_buffer_get_opaque(frame.buf[0]));
}

// M1: the last reference is gone. Puts the slot back, or gives up this process's hold of it.
void give_back(void* opaque, std::uint8_t*) { delete static_cast<FrameSlot*>(opaque); }

std::uint8_t* aligned(std::byte* data, std::size_t alignment) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return reinterpret_cast<std::uint8_t*>((address + alignment - 1) / alignment * alignment);
}

}  // namespace

void FrameMemory::serve(AVCodecContext& decoder) noexcept {
  decoder.opaque = this;
  decoder.get_buffer2 = get_buffer;
#if FF_API_THREAD_SAFE_CALLBACKS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  decoder.thread_safe_callbacks = 1;  // get on the thread that decodes; later versions always do
#pragma GCC diagnostic pop
#endif
}

int FrameMemory::get_buffer(AVCodecContext* decoder, AVFrame* frame, int flags) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
  if (decoder->codec_type != AVMEDIA_TYPE_VIDEO || format == nullptr ||
      (format->flags & AV_PIX_FMT_FLAG_HWACCEL) != 0 ||
      (decoder->codec->capabilities & AV_CODEC_CAP_DR1) == 0) {
    return avcodec_default_get_buffer2(decoder, frame, flags);
  }
  return static_cast<FrameMemory*>(decoder->opaque)->give(*decoder, *frame);
}

int FrameMemory::give(AVCodecContext& decoder, AVFrame& frame) noexcept {
  PlaneLayout layout;
  if (const int error = lay_out(decoder, frame, layout); error < 0) return error;
  std::unique_ptr<FrameSlot> slot(new (std::nothrow) FrameSlot);
  if (!slot) return AVERROR(ENOMEM);
  slot->own = pool_.get(layout.bytes);
  if (!slot->own) {
    std::fprintf(stderr, "ffmpeg_frames: no buffer for a frame of %zu bytes: %s\n", layout.bytes,
                 slot->own.error().sentence.c_str());
    return AVERROR(ENOMEM);
  }
  std::uint8_t* planes = aligned(slot->own.data(), layout.alignment);
  frame.buf[0] = av_buffer_create(reinterpret_cast<std::uint8_t*>(slot->own.data()), layout.bytes,
                                  give_back, slot.get(), 0);
  if (frame.buf[0] == nullptr) return AVERROR(ENOMEM);
  static_cast<void>(slot.release());  // the AVBuffer's from here on
  for (int i = 0; i < kPlanes; ++i) {
    frame.data[i] = layout.used[i] ? planes + layout.offsets[i] : nullptr;
    frame.linesize[i] = layout.linesizes[i];
  }
  frame.extended_data = frame.data;
  return 0;
}

bool FrameMemory::has(const AVFrame& frame) const noexcept {
  return frame.buf[0] != nullptr && frame.buf[1] == nullptr && pool_.owns(frame.buf[0]->data);
}

AvPointer<AVFrame> FrameMemory::copy_of(AVCodecContext& decoder, const AVFrame& frame) {
  AvPointer<AVFrame> copy(av_check_memory(av_frame_alloc()));
  copy->format = frame.format;
  copy->width = frame.width;
  copy->height = frame.height;
  av_check(give(decoder, *copy), "no memory for a copy of a frame");
  av_check(av_frame_copy(copy.get(), &frame), "a frame cannot be copied");
  av_check(av_frame_copy_props(copy.get(), &frame), "a frame cannot be copied");
  return copy;
}

zeropool::Handle FrameMemory::lend(const AVFrame& frame) {
  FrameSlot& slot = slot_of(frame);
  // A decoder may give out one picture twice; then it is shared already.
  if (!slot.shared) slot.shared = std::move(slot.own).share();
  if (!slot.shared) throw std::runtime_error("share: " + slot.shared.error().sentence);
  const zeropool::Handle handle = slot.shared.handle();
  if (!handle) throw std::runtime_error(std::string("handle: ") + zp_last_error());
  return handle;
}

void FrameMemory::take_back(const AVFrame& frame) noexcept {
  FrameSlot& slot = slot_of(frame);
  zeropool::Buffer own = std::move(slot.shared).to_buffer();
  // Else it is lent once more, or a handle lies unread with a viewer that was killed: then the hold remains.
  if (own) slot.own = std::move(own);
}

}  // namespace ffmpeg_frames
