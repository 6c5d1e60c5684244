#include "daemon/event_loop.hpp"

#include <chrono>
#include <string>
#include <sys/epoll.h>
#include <thread>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace zeropool::daemon;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<EventLoop> make_loop() {
  std::string why;
  auto loop = EventLoop::create(why);
  REQUIRE_MESSAGE(loop, why);
  return loop;
}

}  // namespace

TEST_CASE("timers run in the order of their times, cancelled ones never") {
  const auto loop = make_loop();
  std::string order;
  loop->after(20ms, [&] { order += "b"; });
  loop->after(1ms, [&] { order += "a"; });
  const EventLoop::TimerId cancelled = loop->after(5ms, [&] { order += "x"; });
  loop->cancel(cancelled);
  const std::uint64_t end = monotonic_ns() + 2'000'000'000U;
  while (order.size() < 2 && monotonic_ns() < end) loop->run_once(50);
  CHECK(order == "ab");
}

TEST_CASE("work sent by another thread runs in the loop and wakes it") {
  const auto loop = make_loop();
  std::thread::id ran_in;
  std::thread sender([&] {
    loop->run_in_loop([&] {
      ran_in = std::this_thread::get_id();
      loop->stop();
    });
  });
  loop->run();
  sender.join();
  CHECK(ran_in == std::this_thread::get_id());
}

TEST_CASE("a handler that was unwatched in the same round is not called") {
  const auto loop = make_loop();
  int first[2];
  int second[2];
  REQUIRE(::pipe(first) == 0);
  REQUIRE(::pipe(second) == 0);
  int calls = 0;
  const auto handler = [&](std::uint32_t) {
    ++calls;
    loop->unwatch(first[0]);
    loop->unwatch(second[0]);
  };
  REQUIRE(loop->watch(first[0], EPOLLIN, handler));
  REQUIRE(loop->watch(second[0], EPOLLIN, handler));
  REQUIRE(::write(first[1], "x", 1) == 1);
  REQUIRE(::write(second[1], "x", 1) == 1);
  loop->run_once(1000);
  loop->run_once(0);
  CHECK(calls == 1);
  for (const int fd : {first[0], first[1], second[0], second[1]}) ::close(fd);
}

TEST_CASE("what is found before sleeping keeps the loop from sleeping") {
  const auto loop = make_loop();
  int looks = 0;
  bool slept = false;
  loop->around_sleep([&] { return ++looks < 3; }, [&] { slept = true; });
  const std::uint64_t begun = monotonic_ns();
  loop->run_once(20);
  CHECK(looks == 3);
  CHECK(slept);
  CHECK(monotonic_ns() - begun >= 15'000'000U);
}
