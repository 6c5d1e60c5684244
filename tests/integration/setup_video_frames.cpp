// config/video-frames.yaml at work: capture → encoder, viewers that look on, one of them hung.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/setup.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;
using zeropool::SharedBuffer;

namespace {

constexpr std::size_t kFrameBytes = 1920 * 1080 * 3 / 2;
constexpr std::size_t kStep = 4096;  // a word of each page is looked at
constexpr std::uint64_t kFrames = 300;

struct Picture {
  Handle handle;
  std::uint64_t number = 0;  // 0: the stream has ended
};

Pool open_or_throw(const DaemonProcess& daemon, const std::string& name) {
  auto pool = daemon.open(name);
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// Adopts each picture, looks whether it is whole, and makes a short bitstream of it.
void encode(const DaemonProcess& daemon, Link& capture) {
  Pool frames = open_or_throw(daemon, "frames");
  Pool bitstream = open_or_throw(daemon, "bitstream");
  capture.signal();
  for (Picture picture = capture.receive<Picture>(); picture.number != 0;
       picture = capture.receive<Picture>()) {
    const SharedBuffer frame = frames.adopt_shared(picture.handle);
    expect(static_cast<bool>(frame), frame.error().sentence);
    expect(frame.size() == kFrameBytes, "another size arrived");
    expect(broken_at(frame.data(), frame.size(), picture.number, kStep) == kFrameBytes,
           "the frame is not whole");
    Buffer packet = bitstream.get(frame.size() / 40);
    expect(static_cast<bool>(packet), packet.error().sentence);
    std::memcpy(packet.data(), frame.data(), packet.size());
    capture.send(picture.number);  // what is behind it may go
  }
}

}  // namespace

TEST_CASE("frames are captured, encoded and looked at without a copy, and all come back") {
  const DaemonProcess daemon(small_setup("video-frames", 16));
  ChildProcess encoder([&](Link& capture) { encode(daemon, capture); });
  // Holds the frames that it was given for ever.
  ChildProcess hung([&](Link& capture) {
    Pool frames = open_or_throw(daemon, "frames");
    std::vector<SharedBuffer> kept;
    capture.signal();
    for (int i = 0; i < 4; ++i) {
      kept.push_back(frames.adopt_shared(capture.receive<Handle>()));
      expect(static_cast<bool>(kept.back()), kept.back().error().sentence);
    }
    capture.signal();
    capture.await();
  });
  encoder.link().await();
  hung.link().await();

  Pool frames = open_or_throw(daemon, "frames");
  std::uint64_t on_the_way = 0;
  for (std::uint64_t number = 1; number <= kFrames; ++number) {
    Buffer frame;
    // The camera would drop it after 40 ms; a slow machine is no camera.
    const bool got = eventually([&] { return static_cast<bool>(frame = frames.get(kFrameBytes)); });
    REQUIRE_MESSAGE(got, frame.error().sentence);
    CHECK((frame.capacity() - kFrameBytes) * 50 <
          kFrameBytes);  // a camera's frame wastes under 2 %
    write_pattern(frame, number, kStep);
    const SharedBuffer whole = std::move(frame).share();
    REQUIRE(whole);
    encoder.link().send(Picture{whole.handle(), number});
    if (number <= 4) hung.link().send(whole.handle());
    if (++on_the_way == 6) {  // as many as the encoder may be behind
      encoder.link().receive<std::uint64_t>();
      --on_the_way;
    }
  }
  for (; on_the_way > 0; --on_the_way) encoder.link().receive<std::uint64_t>();
  encoder.link().send(Picture{});
  CHECK(encoder.wait().well());
  CHECK(encoder.failure() == "");
  hung.link().await();

  CHECK(daemon.metric("zeropool_slots", {"pool=\"frames\"", "state=\"shared\""}) == 4);
  hung.kill();
  frames = Pool();  // what this thread keeps goes back
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.metric("zeropool_gets_total", {"pool=\"frames\""}) >= kFrames);
  CHECK(daemon.metric("zeropool_committed_bytes") <= daemon.metric("zeropool_budget_bytes"));
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}

TEST_CASE("a viewer that hoards frames is stopped by its quota, and capture goes on") {
  const DaemonProcess daemon(small_setup("video-frames", 16));
  ChildProcess hoarder([&](Link& capture) {
    Pool frames = open_or_throw(daemon, "frames");
    std::vector<Buffer> hoard;
    for (;;) {
      Buffer frame = frames.get(kFrameBytes, 10s);
      if (!frame) {
        expect(frame.error_code() == zeropool::ErrorCode::quota_exceeded, frame.error().sentence);
        break;
      }
      hoard.push_back(std::move(frame));
    }
    capture.send(hoard.size());
    capture.await();
  });
  const auto hoarded = hoarder.link().receive<std::size_t>();
  CHECK(hoarded >= 10);
  CHECK(hoarded * kFrameBytes <= std::size_t{64} << 20);  // 1GiB / 16
  Pool frames = open_or_throw(daemon, "frames");
  Buffer frame;
  CHECK(eventually([&] { return static_cast<bool>(frame = frames.get(kFrameBytes)); }));
  CHECK(daemon.metric("zeropool_get_failures_total", {"reason=\"quota_exceeded\""}) == 1);
}
