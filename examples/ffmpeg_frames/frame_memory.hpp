#pragma once
// FrameMemory: libavcodec decodes into buffers of a pool, and its frames are lent to another process while the decoder still
// refers to them.
//
// Thread safety: the callbacks (get_buffer2, and the end of an AVBuffer) run on any of libavcodec's threads, as Pool may be
// used by any. lend() and take_back() are for one thread, the one that receives the frames.
// Invariants:
//   M1  An AVBuffer made here has its slot until libav drops the last reference to it, whoever that is, on whatever thread.
//   M2  A slot is shared (read-only) from lend() to take_back(). In that time the caller keeps a reference to the frame, so
//       that its AVBuffer has two and no decoder finds it writable: one that repaints its last picture makes a copy then.
// Crash safety: holds of the slot stand in shared memory under each process's name; whoever is killed, its hold ends with it.

#include <zeropool/zeropool.hpp>

#include "ffmpeg_frames/av.hpp"

namespace ffmpeg_frames {

class FrameMemory {
 public:
  explicit FrameMemory(zeropool::Pool pool) : pool_(std::move(pool)) {}
  FrameMemory(const FrameMemory&) = delete;
  FrameMemory& operator=(const FrameMemory&) = delete;

  // Before avcodec_open2(). The decoder and its frames must end before this does.
  void serve(AVCodecContext& decoder) noexcept;

  // Its planes lie in a slot of the pool. Not so where a decoder has memory of its own: it refers to the packet, as rawvideo
  // does, or does not let others provide it (no AV_CODEC_CAP_DR1).
  bool has(const AVFrame& frame) const noexcept;
  // The same picture in a slot of the pool.
  AvPointer<AVFrame> copy_of(AVCodecContext& decoder, const AVFrame& frame);

  // A handle for one more reader of a frame that has().
  zeropool::Handle lend(const AVFrame& frame);
  // Of what was lent, no longer read: the decoder's to write again.
  void take_back(const AVFrame& frame) noexcept;

 private:
  int give(AVCodecContext& decoder, AVFrame& frame) noexcept;
  static int get_buffer(AVCodecContext* decoder, AVFrame* frame, int flags);

  zeropool::Pool pool_;
};

}  // namespace ffmpeg_frames
