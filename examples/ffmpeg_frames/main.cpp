// Decodes a video into buffers of a pool and lets a second process look at each frame, without a copy. README.md beside this
// file. Needs a running zeropoold.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <zeropool/zeropool.hpp>

#include "ffmpeg_frames/frame_memory.hpp"
#include "ffmpeg_frames/picture.hpp"
#include "ffmpeg_frames/video.hpp"
#include "ffmpeg_frames/viewer.hpp"
#include "ffmpeg_frames/viewer_link.hpp"

namespace ffmpeg_frames {
namespace {

struct Options {
  std::string video;
  std::string socket;
  std::string pool;
  int threads = 0;
  std::size_t behind = 0;
  std::uint64_t kill_viewer_after = 0;
  bool viewer = false;
};

std::vector<std::string> viewer_arguments(const Options& options) {
  std::vector<std::string> arguments = {"ffmpeg_frames", "--viewer", "--behind",
                                        std::to_string(options.behind)};
  if (!options.socket.empty()) arguments.insert(arguments.end(), {"--socket", options.socket});
  if (!options.pool.empty()) arguments.insert(arguments.end(), {"--pool", options.pool});
  return arguments;
}

int run_decoder(const Options& options) {
  zeropool::OpenOptions open_options;
  open_options.socket = options.socket;
  auto pool = zeropool::Pool::open(options.pool, open_options);
  if (!pool) throw std::runtime_error(pool.error().sentence);
  FrameMemory memory(*pool);
  Video video(options.video, options.threads, memory);
  ViewerLink viewer(memory, viewer_arguments(options), options.kill_viewer_after);
  std::uint64_t frames = 0;
  std::uint64_t copied = 0;
  while (AvPointer<AVFrame> frame = video.next()) {
    ++frames;
    if (!memory.has(*frame)) {
      frame = memory.copy_of(video.decoder(), *frame);
      ++copied;
    }
    viewer.send(std::move(frame));
  }
  viewer.finish();
  std::fprintf(stderr,
               "ffmpeg_frames: %llu frames, %llu copied, %llu sent again, %llu viewers lost, "
               "%llu damaged packets\n",
               static_cast<unsigned long long>(frames), static_cast<unsigned long long>(copied),
               static_cast<unsigned long long>(viewer.sent_again()),
               static_cast<unsigned long long>(viewer.lost_viewers()),
               static_cast<unsigned long long>(video.damaged_packets()));
  return 0;
}

}  // namespace
}  // namespace ffmpeg_frames

int main(int argc, char** argv) {
  using namespace ffmpeg_frames;
  Options options;
  CLI::App app("Decodes a video into a pool; a second process prints the MD5 of each frame.");
  app.add_option("video", options.video, "a file that libavformat can read");
  app.add_option("--socket", options.socket, "zeropoold's; default: as libzeropool finds it");
  app.add_option("--pool", options.pool, "name of the pool; default: the only one");
  app.add_option("--threads", options.threads, "that decode; 0: as many as CPUs")
      ->check(CLI::Range(0, 64));
  app.add_option("--behind", options.behind,
                 "the viewer looks at a frame only when it has so many later ones")
      ->check(CLI::Range(std::size_t{0}, kWindow - 1));
  app.add_option("--kill-viewer-after", options.kill_viewer_after, "SIGKILL after so many frames");
  app.add_flag("--viewer", options.viewer)
      ->group("");  // how this program starts its second process
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.viewer) return run_viewer(options.socket, options.pool, options.behind);
    if (options.video.empty()) throw std::runtime_error("which video? See --help");
    return run_decoder(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ffmpeg_frames: %s\n", error.what());
    return 1;
  }
}
