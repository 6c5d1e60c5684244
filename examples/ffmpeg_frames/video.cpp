#include "ffmpeg_frames/video.hpp"

namespace ffmpeg_frames {

Video::Video(const std::string& path, int threads, FrameMemory& memory) {
  AVFormatContext* input = nullptr;
  av_check(avformat_open_input(&input, path.c_str(), nullptr, nullptr), path);
  input_.reset(input);
  av_check(avformat_find_stream_info(input, nullptr), path);
  const AVCodec* codec = nullptr;
  stream_ = av_check(av_find_best_stream(input, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0),
                     path + ": no video that can be decoded");
  const AVStream& stream = *input->streams[stream_];
  decoder_.reset(av_check_memory(avcodec_alloc_context3(codec)));
  av_check(avcodec_parameters_to_context(decoder_.get(), stream.codecpar), path);
  decoder_->pkt_timebase = stream.time_base;
  decoder_->thread_count = threads;
  memory.serve(*decoder_);
  av_check(avcodec_open2(decoder_.get(), codec, nullptr), path);
  packet_.reset(av_check_memory(av_packet_alloc()));
}

bool Video::feed() {
  if (flushed_) return false;
  int read = 0;
  do {
    av_packet_unref(packet_.get());
    read = av_read_frame(input_.get(), packet_.get());
  } while (read >= 0 && packet_->stream_index != stream_);
  if (read < 0 && read != AVERROR_EOF) av_check(read, "the file cannot be read");
  flushed_ = read < 0;
  const int taken = avcodec_send_packet(decoder_.get(), flushed_ ? nullptr : packet_.get());
  if (taken == AVERROR_INVALIDDATA) {
    ++damaged_packets_;
  } else if (taken != AVERROR_EOF) {
    av_check(taken, "decoding has failed");
  }
  return true;
}

AvPointer<AVFrame> Video::next() {
  AvPointer<AVFrame> frame(av_check_memory(av_frame_alloc()));
  for (;;) {
    const int result = avcodec_receive_frame(decoder_.get(), frame.get());
    if (result >= 0) return frame;
    if (result == AVERROR_EOF) return nullptr;
    if (result == AVERROR_INVALIDDATA) {
      ++damaged_packets_;
    } else if (result == AVERROR(EAGAIN)) {
      if (!feed()) return nullptr;
    } else {
      av_check(result, "decoding has failed");
    }
  }
}

}  // namespace ffmpeg_frames
