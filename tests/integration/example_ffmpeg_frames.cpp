// examples/ffmpeg_frames against videos made here. Each frame's sum comes from the second process, which read it in the pool;
// it must be what libavcodec shows in memory of its own. Whoever is killed, nothing is lost of the pool.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <string>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"
#include "video/made_video.hpp"

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

// Of what a dead viewer had not adopted nobody but the lease knows.
constexpr const char* kConfig =
    "budget: 128MiB\nlimits: {clients: 16, threads: 64}\npages: {size: [4KiB]}\n"
    "pools: {frames: {classes: [128KiB, 512KiB, 1MiB], thread_cache: 0, handoff: {lease: 2s},\n"
    "                 wait: {timeout: 30s}}}\n";
constexpr std::size_t kFrames = 60;
constexpr std::size_t kLongFrames = 300;  // their lines are several times what a NarrowPipe holds

const std::map<std::string, VideoPlan> kVideos = {
    // Two B-frames between references: frames come out in another order than they were decoded in.
    {"mpeg4.mkv", {"mpeg4", "yuv420p", 640, 360, kFrames, {{"bf", "2"}, {"g", "12"}}}},
    // References that are kept for long; and a size that is no multiple of anything.
    {"h264.mkv", {"libx264", "yuv420p", 322, 182, kFrames, {{"bf", "3"}, {"refs", "4"}}}},
    {"mjpeg.avi", {"mjpeg", "yuvj422p", 318, 178, kFrames}},
    // Its decoder paints what has changed over its last picture.
    {"qtrle.mov", {"qtrle", "rgb24", 320, 180, kFrames}},
    {"ffv1.mkv", {"ffv1", "yuv444p10le", 130, 98, kFrames}},
    // Its decoder's frames are the packets themselves.
    {"raw.nut", {"rawvideo", "yuv420p", 320, 180, kFrames}},
};

std::string program() {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  return std::string(folder) + "/ffmpeg_frames";
}

struct Scene {
  explicit Scene(const char* config = kConfig) : daemon(config) {}
  std::string video(const std::string& name) {
    const std::string path = folder.path() + "/" + name;
    make_video(path, kVideos.at(name));
    return path;
  }
  std::string long_video() {
    const std::string path = folder.path() + "/long.mkv";
    make_video(path, {"mpeg4", "yuv420p", 160, 96, kLongFrames});
    return path;
  }
  ProgramOptions options(const std::string& path, std::vector<std::string> more) const {
    ProgramOptions options;
    options.arguments = {program(), path, "--socket", daemon.socket()};
    options.arguments.insert(options.arguments.end(), more.begin(), more.end());
    return options;
  }
  CommandResult run(const std::string& path, std::vector<std::string> more = {}) const {
    return run_command(options(path, std::move(more)));
  }
  void check_nothing_is_lost() const {
    CHECK(eventually([&] { return daemon.clients() == 0; }));
    CHECK(becomes_all_free(daemon, 30s));
    CHECK(daemon.metric("zeropool_repairs_total") == 0);
  }

  DaemonProcess daemon;
  TemporaryFolder folder;
};

// As the example prints it.
std::string truth_of(const std::string& path, std::size_t frames = kFrames) {
  std::string text;
  std::size_t number = 0;
  for (const ShownFrame& frame : shown_frames(path)) {
    text += std::to_string(++number) + ", " + std::to_string(frame.pts) + ", " +
            std::to_string(frame.width) + "x" + std::to_string(frame.height) + ", " + frame.md5 +
            "\n";
  }
  REQUIRE(number == frames);
  return text;
}

struct Summary {
  unsigned frames = 0, copied = 0, again = 0, lost = 0, damaged = 0;
};

Summary summary_of(const std::string& err) {
  Summary summary;
  const std::size_t at = err.rfind("ffmpeg_frames: ");
  REQUIRE_MESSAGE(at != std::string::npos, err);
  const int fields = std::sscanf(
      err.c_str() + at,
      "ffmpeg_frames: %u frames, %u copied, %u sent again, %u viewers lost, %u damaged",
      &summary.frames, &summary.copied, &summary.again, &summary.lost, &summary.damaged);
  REQUIRE_MESSAGE(fields == 5, err);
  return summary;
}

// What an unread pipe holds of a program's output: so it is in the middle for as long as one likes.
class NarrowPipe {
 public:
  explicit NarrowPipe(const std::string& path) {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);  // as a writer too: it never ends
    REQUIRE(fd_ >= 0);
    REQUIRE(::fcntl(fd_, F_SETPIPE_SZ, 4096) >= 0);
  }
  NarrowPipe(const NarrowPipe&) = delete;
  ~NarrowPipe() { ::close(fd_); }
  std::string read_what_is_there() const {
    int bytes = 0;
    std::string text;
    while (::ioctl(fd_, FIONREAD, &bytes) == 0 && bytes > 0) text += read_some();
    return text;
  }
  std::string read_some() const {
    char text[1024];
    const ssize_t bytes = ::read(fd_, text, sizeof(text));
    return std::string(text, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  }

 private:
  int fd_ = -1;
};

// Of a process: the one that has it as its parent.
pid_t child_of(pid_t pid) {
  const std::string of = std::to_string(pid);
  return static_cast<pid_t>(
      std::atoi(read_file("/proc/" + of + "/task/" + of + "/children").c_str()));
}

}  // namespace

TEST_CASE("every frame reads in the second process as libavcodec shows it, however many threads") {
  Scene scene;
  for (const auto& [name, plan] : kVideos) {
    const std::string path = scene.video(name);
    const std::string truth = truth_of(path);
    for (const std::string threads : {"1", "4"}) {
      CAPTURE(name);
      CAPTURE(threads);
      const CommandResult result = scene.run(path, {"--threads", threads});
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      CHECK(result.out == truth);
      CHECK(summary_of(result.err).copied == (name == "raw.nut" ? kFrames : 0));
    }
  }
  scene.check_nothing_is_lost();
}

TEST_CASE("a viewer that is seven frames behind reads what was shown, not what was painted since") {
  Scene scene;
  for (const std::string name : {"mpeg4.mkv", "qtrle.mov"}) {
    CAPTURE(name);
    const std::string path = scene.video(name);
    const CommandResult result = scene.run(path, {"--behind", "7", "--threads", "1"});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.out == truth_of(path));
    CHECK(summary_of(result.err).copied == 0);
  }
  scene.check_nothing_is_lost();
}

TEST_CASE("a viewer killed with frames in hand costs no frame and no buffer") {
  Scene scene;
  const std::string path = scene.video("h264.mkv");
  for (const std::string threads : {"1", "4"}) {
    CAPTURE(threads);
    const CommandResult result =
        scene.run(path, {"--behind", "5", "--kill-viewer-after", "20", "--threads", threads});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.out == truth_of(path));
    const Summary summary = summary_of(result.err);
    CHECK(summary.lost == 1);
    CHECK(summary.again >= 1);
  }
  scene.check_nothing_is_lost();
}

TEST_CASE("a viewer stopped for longer than the lease is sent its frames again") {
  Scene scene;
  const std::string path = scene.long_video();
  const NarrowPipe out(scene.folder.path() + "/out");
  ProgramOptions options = scene.options(path, {});
  options.output = scene.folder.path() + "/out";
  options.errors = scene.folder.path() + "/err";
  Program decoder(options);
  std::string shown = out.read_some();  // it works, and has more to print than the pipe holds
  const pid_t viewer = child_of(decoder.pid());
  REQUIRE(viewer > 0);
  REQUIRE(::kill(viewer, SIGSTOP) == 0);
  // Printing goes on, so frames are lent to who cannot fetch them.
  CHECK(eventually(
      [&] {
        shown += out.read_what_is_there();
        return scene.daemon.log().find("adoptions of shared buffers that nobody made are over") !=
               std::string::npos;
      },
      60s));
  REQUIRE(::kill(viewer, SIGCONT) == 0);
  CHECK(eventually(
      [&] {
        shown += out.read_what_is_there();
        return decoder.ended().has_value();
      },
      60s));
  shown += out.read_what_is_there();
  const std::string err = read_file(options.errors);
  CHECK_MESSAGE(decoder.finish(1s).well(), err);
  CHECK(shown == truth_of(path, kLongFrames));
  CHECK(summary_of(err).again >= 1);
  CHECK(summary_of(err).lost == 0);
  scene.check_nothing_is_lost();
}

TEST_CASE("the decoder killed in the middle: the viewer ends, and every buffer comes back") {
  Scene scene;
  const std::string path = scene.long_video();
  const NarrowPipe out(scene.folder.path() + "/out");
  ProgramOptions options = scene.options(path, {"--behind", "3", "--threads", "4"});
  options.output = scene.folder.path() + "/out";
  options.errors = scene.folder.path() + "/err";
  Program decoder(options);
  CHECK(out.read_some().rfind("1, ", 0) == 0);
  CHECK(scene.daemon.clients() == 2);
  decoder.send(SIGKILL);
  const End end = decoder.finish(30s);
  CHECK(end.signal == SIGKILL);
  scene.check_nothing_is_lost();
}

TEST_CASE(
    "a pool with too few buffers ends it with a sentence, and so does no daemon, and no video") {
  Scene scene(
      "budget: 64MiB\nlimits: {clients: 16, threads: 64}\npages: {size: [4KiB]}\n"
      "pools: {frames: {classes: [1MiB], limit: 5MiB, thread_cache: 0, handoff: {lease: 2s},\n"
      "                 watermarks: {low: 0, high: 0}, wait: {timeout: 300ms}}}\n");
  const std::string path = scene.video("mpeg4.mkv");
  const CommandResult few = scene.run(path, {"--behind", "7"});
  CHECK(few.exit_code == 1);
  CHECK_MESSAGE(few.err.find("no buffer for a frame of ") != std::string::npos, few.err);
  scene.check_nothing_is_lost();

  const CommandResult none = scene.run(scene.folder.path() + "/none.mkv");
  CHECK(none.exit_code == 1);
  CHECK(none.err.find("none.mkv: ") != std::string::npos);
  write_file(scene.folder.path() + "/text.mkv", "this is no video");
  CHECK(scene.run(scene.folder.path() + "/text.mkv").exit_code == 1);
  ProgramOptions options = scene.options(path, {});
  options.arguments[3] = scene.folder.path() + "/none.sock";
  const CommandResult alone = run_command(options);
  CHECK(alone.exit_code == 1);
  CHECK(alone.err.find("zeropoold") != std::string::npos);
}

}  // namespace zeropool::testing
