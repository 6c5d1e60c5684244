// examples/gstreamer_frames: what the second process reads in the pool must be what the same source paints into a file, by
// GStreamer's own memory and without this project. Whoever is killed, nothing is lost of the pool.

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <gst/gst.h>

#include "support/daemon_process.hpp"

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

constexpr const char* kConfig =
    "budget: 64MiB\nlimits: {clients: 16, threads: 64}\npages: {size: [4KiB]}\n"
    "pools: {frames: {classes: [256KiB, 512KiB], thread_cache: 0, wait: {timeout: 30s}}}\n";
constexpr std::size_t kFrames = 90;

struct Picture {
  const char* format;
  int width;
  int height;
  std::size_t bytes;
};

std::string source_of(const Picture& picture) {
  return "videotestsrc num-buffers=" + std::to_string(kFrames) +
         " pattern=ball ! video/x-raw,format=" + picture.format +
         ",width=" + std::to_string(picture.width) + ",height=" + std::to_string(picture.height) +
         ",framerate=25/1";
}

// The MD5 of each frame, painted into GStreamer's own memory.
std::vector<std::string> truth_of(const Picture& picture) {
  const TemporaryFolder folder;
  gst_init(nullptr, nullptr);
  const std::string text = source_of(picture) + " ! filesink location=" + folder.path() + "/raw";
  GstElement* pipeline = gst_parse_launch(text.c_str(), nullptr);
  REQUIRE(pipeline != nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstBus* bus = gst_element_get_bus(pipeline);
  GstMessage* end = gst_bus_timed_pop_filtered(
      bus, 60 * GST_SECOND, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  REQUIRE(end != nullptr);
  CHECK(GST_MESSAGE_TYPE(end) == GST_MESSAGE_EOS);
  gst_message_unref(end);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
  const std::string raw = read_file(folder.path() + "/raw");
  REQUIRE(raw.size() == kFrames * picture.bytes);
  std::vector<std::string> sums;
  for (std::size_t at = 0; at < raw.size(); at += picture.bytes) {
    gchar* sum = g_compute_checksum_for_data(
        G_CHECKSUM_MD5, reinterpret_cast<const guchar*>(raw.data() + at), picture.bytes);
    sums.push_back(sum);
    g_free(sum);
  }
  return sums;
}

std::string lines_of(const std::vector<std::string>& sums) {
  std::string text;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    text += std::to_string(i + 1) + ", " + std::to_string(i * 40'000'000) + ", " + sums[i] + "\n";
  }
  return text;
}

CommandResult run_example(const DaemonProcess& daemon, std::vector<std::string> more) {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  ProgramOptions options;
  options.arguments = {std::string(folder) + "/gstreamer_frames", "--socket", daemon.socket()};
  options.arguments.insert(options.arguments.end(), more.begin(), more.end());
  return run_command(options);
}

void check_nothing_is_lost(const DaemonProcess& daemon) {
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(becomes_all_free(daemon, 30s));
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}

constexpr Picture kPlanar{"I420", 640, 360, std::size_t{640} * 360 * 3 / 2};

}  // namespace

TEST_CASE(
    "every frame reads in the second process as videotestsrc painted it, and none was copied") {
  const DaemonProcess daemon(kConfig);
  for (const Picture& picture : {kPlanar, Picture{"RGBx", 318, 182, std::size_t{318} * 182 * 4}}) {
    CAPTURE(picture.format);
    // First: it finds GStreamer's plugins, which takes its time once on a machine.
    const std::string truth = lines_of(truth_of(picture));
    const CommandResult result = run_example(daemon, {source_of(picture)});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.out == truth);
    CHECK(result.err.find("90 frames, 0 copied, 0 not handed over") != std::string::npos);
  }
  check_nothing_is_lost(daemon);
}

TEST_CASE("frames that somebody else in the pipeline keeps are copied, and still right") {
  const DaemonProcess daemon(kConfig);
  const CommandResult result = run_example(
      daemon, {source_of(kPlanar) + " ! tee name=t ! queue ! fakesink sync=false t. ! queue"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  CHECK(result.out == lines_of(truth_of(kPlanar)));
  check_nothing_is_lost(daemon);
}

TEST_CASE(
    "a viewer killed in the middle: the pipeline goes on to its end, and every buffer comes back") {
  const DaemonProcess daemon(kConfig);
  const CommandResult result =
      run_example(daemon, {source_of(kPlanar), "--kill-viewer-after", "30"});
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.err.find("90 frames, ") != std::string::npos);
  // What it did show before its end is right.
  const std::string truth = lines_of(truth_of(kPlanar));
  CHECK(result.out.size() < truth.size());
  CHECK(truth.rfind(result.out, 0) == 0);
  check_nothing_is_lost(daemon);
}

TEST_CASE("no pipeline, no daemon, no buffer of that size: a sentence, and status 1") {
  const DaemonProcess daemon(kConfig);
  const CommandResult wrong = run_example(daemon, {"nosuchelement"});
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.err.find("nosuchelement") != std::string::npos);
  const Picture large{"RGBx", 1280, 720, std::size_t{1280} * 720 * 4};
  const CommandResult refused = run_example(daemon, {source_of(large)});
  CHECK(refused.exit_code == 1);
  CHECK_MESSAGE(refused.err.find("no buffer for a frame of ") != std::string::npos, refused.err);
  check_nothing_is_lost(daemon);
  const TemporaryFolder folder;
  const CommandResult alone = run_example(daemon, {"--socket", folder.path() + "/none.sock"});
  CHECK(alone.exit_code != 0);
}

}  // namespace zeropool::testing
