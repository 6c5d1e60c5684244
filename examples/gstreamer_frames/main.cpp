// A GStreamer pipeline whose frames live in a pool, handed to a second process without a copy. README.md beside this file.
// Needs a running zeropoold.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <CLI/CLI.hpp>
#include <gst/gst.h>

#include <zeropool/zeropool.hpp>

#include "gstreamer_frames/pool_allocator.hpp"

namespace {

using gstreamer_frames::make_pool_allocator;
using gstreamer_frames::propose;
using gstreamer_frames::take_buffer;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

// One frame, as it travels.
struct Picture {
  Handle handle;
  std::uint64_t number = 0;
  std::uint64_t pts_ns = 0;
  std::uint64_t offset = 0;  // of its first byte, in the buffer
  std::uint64_t bytes = 0;
};

struct Options {
  std::string source = "videotestsrc num-buffers=90 ! video/x-raw,format=I420,width=640,height=360";
  std::string socket;
  std::string pool;
  std::uint64_t kill_viewer_after = 0;
};

Pool open_pool(const Options& options, const char* name) {
  zeropool::OpenOptions open_options;
  open_options.socket = options.socket;
  open_options.client_name = name;
  auto pool = Pool::open(options.pool, open_options);
  if (!pool) throw std::runtime_error(pool.error().sentence);
  return *pool;
}

// ---- The first process

struct Stage {
  Pool pool;
  int link = -1;
  pid_t viewer = -1;
  std::uint32_t viewer_id = 0;
  std::uint64_t kill_viewer_after = 0;
  std::uint64_t frames = 0;
  std::uint64_t copied = 0;
  std::uint64_t unseen = 0;  // by a viewer that is gone
  std::uint64_t lost = 0;    // for want of a buffer
};

// The frame's own Buffer, or a copy, where somebody else (a tee, a source with memory of its own) has a part in it.
// Empty: there is no buffer for a copy.
Buffer buffer_of(GstBuffer* frame, Stage& stage, Picture& picture) {
  picture.bytes = gst_buffer_get_size(frame);
  Buffer buffer = take_buffer(frame, picture.offset);
  if (buffer) return buffer;
  ++stage.copied;
  buffer = stage.pool.get(picture.bytes);
  if (buffer) gst_buffer_extract(frame, 0, buffer.data(), picture.bytes);
  return buffer;
}

// Each frame that comes to the sink, on the thread that painted it.
void hand_over(GstElement*, GstBuffer* frame, GstPad*, gpointer data) noexcept {
  auto& stage = *static_cast<Stage*>(data);
  Picture picture{{}, ++stage.frames, GST_BUFFER_PTS(frame), 0, 0};
  Buffer buffer = buffer_of(frame, stage, picture);
  if (buffer) picture.handle = std::move(buffer).release(stage.viewer_id);  // tied to its life
  if (!picture.handle) {
    std::fprintf(stderr, "gstreamer_frames: a frame is lost: %s\n", zp_last_error());
    ++stage.lost;
  } else if (::send(stage.link, &picture, sizeof(picture), MSG_NOSIGNAL) != sizeof(picture)) {
    stage.pool.adopt(picture.handle).reset();  // unless zeropoold was faster
    ++stage.unseen;
  }
  if (stage.frames == stage.kill_viewer_after) ::kill(stage.viewer, SIGKILL);
}

int run_pipeline(const Options& options, int link, pid_t viewer) {
  Stage stage;
  stage.link = link;
  stage.viewer = viewer;
  stage.kill_viewer_after = options.kill_viewer_after;
  if (::recv(link, &stage.viewer_id, sizeof(stage.viewer_id), 0) != sizeof(stage.viewer_id)) {
    return 1;  // it has said why
  }
  stage.pool = open_pool(options, "gstreamer_frames");
  gst_init(nullptr, nullptr);
  GstAllocator* allocator = make_pool_allocator(stage.pool);
  GError* error = nullptr;
  // Without enable-last-sample=false the sink itself would keep a reference to each frame; so does appsink, always.
  const std::string text =
      options.source +
      " ! fakesink name=out sync=false signal-handoffs=true enable-last-sample=false";
  GstElement* pipeline = gst_parse_launch(text.c_str(), &error);
  if (error != nullptr) throw std::runtime_error(error->message);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "out");
  GstPad* pad = gst_element_get_static_pad(sink, "sink");
  propose(allocator, pad);
  g_signal_connect(sink, "handoff", G_CALLBACK(hand_over), &stage);

  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstBus* bus = gst_element_get_bus(pipeline);
  GstMessage* end = gst_bus_timed_pop_filtered(
      bus, GST_CLOCK_TIME_NONE, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  const bool failed = GST_MESSAGE_TYPE(end) == GST_MESSAGE_ERROR;
  if (failed) {
    gst_message_parse_error(end, &error, nullptr);
    std::fprintf(stderr, "gstreamer_frames: %s\n", error->message);
    g_error_free(error);
  }
  gst_message_unref(end);
  gst_element_set_state(pipeline, GST_STATE_NULL);  // the frames that it still has go back
  for (gpointer object : {gpointer(bus), gpointer(pad), gpointer(sink), gpointer(pipeline)}) {
    gst_object_unref(object);
  }
  gst_object_unref(allocator);
  std::fprintf(stderr, "gstreamer_frames: %llu frames, %llu copied, %llu not handed over\n",
               static_cast<unsigned long long>(stage.frames),
               static_cast<unsigned long long>(stage.copied),
               static_cast<unsigned long long>(stage.unseen));
  return failed || stage.lost > 0 ? 1 : 0;
}

// ---- The second process

int run_viewer(const Options& options, int link) {
  Pool pool = open_pool(options, "viewer");
  const std::uint32_t id = pool.client_id();
  ::send(link, &id, sizeof(id), MSG_NOSIGNAL);
  Picture picture;
  while (::recv(link, &picture, sizeof(picture), 0) == sizeof(picture)) {
    const Buffer buffer = pool.adopt(picture.handle);
    if (!buffer) throw std::runtime_error("adopt: " + buffer.error().sentence);  // by its lease
    if (picture.offset > buffer.size() || picture.bytes > buffer.size() - picture.offset) {
      throw std::runtime_error("a picture does not lie within its buffer");
    }
    const auto* pixels = reinterpret_cast<const guchar*>(buffer.data() + picture.offset);
    gchar* sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, pixels, picture.bytes);
    std::printf("%llu, %llu, %s\n", static_cast<unsigned long long>(picture.number),
                static_cast<unsigned long long>(picture.pts_ns), sum);
    std::fflush(stdout);
    g_free(sum);
  }  // the Buffer puts itself back
  return 0;
}

int run(const Options& options) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error(std::string("socketpair: ") + std::strerror(errno));
  }
  const pid_t viewer = ::fork();  // before there are threads, or a pool
  if (viewer < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  ::close(ends[viewer == 0 ? 0 : 1]);
  if (viewer == 0) return run_viewer(options, ends[1]);
  const int status = run_pipeline(options, ends[0], viewer);
  ::close(ends[0]);
  int end = 0;
  while (::waitpid(viewer, &end, 0) < 0 && errno == EINTR) {
  }
  const bool wanted = options.kill_viewer_after != 0 && WIFSIGNALED(end);
  return status == 0 && (wanted || (WIFEXITED(end) && WEXITSTATUS(end) == 0)) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "A GStreamer pipeline paints into a pool; a second process prints the MD5 of each frame.");
  app.add_option("source", options.source,
                 "a pipeline without its sink, as gst-launch-1.0 takes it");
  app.add_option("--socket", options.socket, "zeropoold's; default: as libzeropool finds it");
  app.add_option("--pool", options.pool, "name of the pool; default: the only one");
  app.add_option("--kill-viewer-after", options.kill_viewer_after, "SIGKILL after so many frames");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gstreamer_frames: %s\n", error.what());
    return 1;
  }
}
