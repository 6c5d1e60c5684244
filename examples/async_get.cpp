// Gets that wait without a thread, in a plain epoll loop: a thousand coroutines share a pool that has fewer buffers. Needs a
// running zeropoold.

#include <coroutine>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sys/epoll.h>
#include <unistd.h>

#include <zeropool/async.hpp>

namespace {

// The least coroutine: it begins at once, and its frame goes when it ends.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

struct Progress {
  int held = 0;  // buffers that a request has now
  int done = 0;
  int failed = 0;
};

// A request holds its buffer over several turns of the loop.
struct NextTurn {
  static inline std::coroutine_handle<> waiting[1000];
  static inline int count = 0;
  static bool await_ready() noexcept { return false; }
  static void await_suspend(std::coroutine_handle<> handle) noexcept { waiting[count++] = handle; }
  static void await_resume() noexcept {}
  static void resume_all() {
    std::coroutine_handle<> ready[1000];
    const int many = count;
    std::memcpy(ready, waiting, sizeof(waiting[0]) * static_cast<std::size_t>(many));
    count = 0;
    for (int i = 0; i < many; ++i) ready[i].resume();
  }
};

Detached serve(zeropool::Pool pool, int number, Progress& progress) {
  zeropool::Buffer buffer =
      co_await pool.async_get(64 * 1024, {.timeout = std::chrono::seconds(30)});
  if (!buffer) {
    std::fprintf(stderr, "request %d: %s\n", number, buffer.error().sentence.c_str());
    ++progress.failed;
    co_return;
  }
  ++progress.held;
  std::memset(buffer.data(), number, buffer.size());
  co_await NextTurn{};
  --progress.held;
  ++progress.done;
}  // the buffer puts itself back; who waits longest gets it

}  // namespace

int main() {
  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "async_get: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{};
  interest.events = EPOLLIN;
  const int events = pool->event_fd();
  if (events < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, events, &interest) != 0) {
    std::fprintf(stderr, "async_get: %s\n", zp_last_error());
    return 1;
  }

  constexpr int kRequests = 1000;
  Progress progress;
  int most = 0;
  for (int i = 0; i < kRequests; ++i) serve(*pool, i, progress);
  while (progress.done + progress.failed < kRequests) {
    if (progress.held > most) most = progress.held;
    NextTurn::resume_all();
    // Where nothing else is to be done, it sleeps until a get has ended.
    epoll_event event{};
    if (epoll_wait(epoll, &event, 1, NextTurn::count > 0 ? 0 : -1) > 0) pool->poll();
  }
  std::printf("%d requests served, at most %d at once\n", progress.done, most);
  close(epoll);
  return progress.failed == 0 ? 0 : 1;
}
