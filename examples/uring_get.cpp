// Gets in an io_uring loop: coroutines copy a file, in chunks, by reads and writes into registered, pinned buffers. What the
// loop needs for gets is one poll request on the pool's event descriptor. Needs a running zeropoold.
//
//   uring_get FROM TO

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <zeropool/async.hpp>
#include <zeropool/zeropool.hpp>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kBytes = std::size_t{64} * 1024;
constexpr std::size_t kMostRegistered = 64;

// Begins at once, and frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

// An operation that a coroutine waits for; its address is the request's user_data.
struct Operation {
  io_uring_sqe* request;
  int result = 0;
  std::coroutine_handle<> waits{};

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    waits = handle;
    io_uring_sqe_set_data(request, this);
  }
  int await_resume() const noexcept { return result; }
};

struct Copy {
  io_uring ring{};
  zeropool::Pool pool;
  std::vector<iovec> registered;  // the pinned buffers, by their number
  int from = -1;
  int to = -1;
  std::uint64_t bytes = 0;
  std::size_t under_way = 0;
  int error = 0;

  io_uring_sqe* request() {
    io_uring_sqe* request = io_uring_get_sqe(&ring);
    if (request == nullptr) {  // the queue is full
      io_uring_submit(&ring);
      request = io_uring_get_sqe(&ring);
    }
    return request;
  }
  // -1: not registered; the pool may have more buffers than that.
  int number_of(const void* data) const {
    for (std::size_t i = 0; i < registered.size(); ++i) {
      if (registered[i].iov_base == data) return static_cast<int>(i);
    }
    return -1;
  }

  Detached chunk(std::uint64_t at, unsigned length) {
    zeropool::Buffer buffer =
        co_await pool.async_get(kBytes, {.timeout = 60s});  // resumed by pool.poll()
    if (!buffer) error = ENOMEM;
    const int number = number_of(buffer.data());
    for (unsigned done = 0; error == 0 && done < length;) {
      const auto copied = [&](bool write, std::byte* data, unsigned count) {
        io_uring_sqe* sqe = request();
        if (number >= 0) {
          write ? io_uring_prep_write_fixed(sqe, to, data, count, at + done, number)
                : io_uring_prep_read_fixed(sqe, from, data, count, at + done, number);
        } else {
          write ? io_uring_prep_write(sqe, to, data, count, at + done)
                : io_uring_prep_read(sqe, from, data, count, at + done);
        }
        return Operation{sqe};
      };
      const int got = co_await copied(false, buffer.data(), length - done);
      if (got <= 0) {
        error = got == 0 ? EIO : -got;
        break;
      }
      const int put = co_await copied(true, buffer.data(), static_cast<unsigned>(got));
      if (put <= 0) {
        error = put == 0 ? EIO : -put;
        break;
      }
      done += static_cast<unsigned>(put);
    }
    --under_way;
  }

  void watch_pool() {
    io_uring_sqe* sqe = request();
    io_uring_prep_poll_add(sqe, pool.event_fd(), POLLIN);
    io_uring_sqe_set_data(sqe, nullptr);
  }

  int run() {
    watch_pool();
    // All of them at once: those that find no buffer wait for one.
    for (std::uint64_t at = 0; at < bytes; at += kBytes) {
      ++under_way;
      chunk(at, static_cast<unsigned>(std::min<std::uint64_t>(kBytes, bytes - at)));
    }
    while (under_way > 0) {
      io_uring_submit_and_wait(&ring, 1);
      io_uring_cqe* done = nullptr;
      while (under_way > 0 && io_uring_peek_cqe(&ring, &done) == 0) {
        auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(done));
        const int result = done->res;
        io_uring_cqe_seen(&ring, done);
        if (operation != nullptr) {
          operation->result = result;
          operation->waits.resume();
        } else {
          pool.poll();
          watch_pool();
        }
      }
    }
    return error;
  }
};

int fail(const char* what, const char* why) {
  std::fprintf(stderr, "uring_get: %s: %s\n", what, why);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return fail("usage", "uring_get FROM TO");
  // The kernel may write into this process's buffers: said so that nobody else gets them too early if it is killed.
  zeropool::OpenOptions options;
  options.direct_io = true;
  auto pool = zeropool::Pool::open("", options);
  if (!pool) return fail("the pool", pool.error().sentence.c_str());

  Copy copy;
  copy.pool = *pool;
  copy.from = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  if (copy.from < 0) return fail(argv[1], std::strerror(errno));
  copy.to = ::open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (copy.to < 0) return fail(argv[2], std::strerror(errno));
  struct stat status {};
  if (::fstat(copy.from, &status) != 0) return fail(argv[1], std::strerror(errno));
  copy.bytes = static_cast<std::uint64_t>(status.st_size);
  if (const int code = io_uring_queue_init(64, &copy.ring, 0); code != 0) {
    std::fprintf(stderr, "uring_get: no io_uring here: %s\n", std::strerror(-code));
    return 77;
  }

  // What can be had now is pinned and registered; then it is the pool's again.
  std::vector<zeropool::Pin> pins;
  {
    std::vector<zeropool::Buffer> held(kMostRegistered);
    held.resize(copy.pool.get_batch(kBytes, held));
    for (const zeropool::Buffer& buffer : held) {
      pins.push_back(copy.pool.pin(buffer));
      if (!pins.back()) break;
      copy.registered.push_back({buffer.data(), kBytes});
    }
  }
  if (!copy.registered.empty() &&
      io_uring_register_buffers(&copy.ring, copy.registered.data(),
                                static_cast<unsigned>(copy.registered.size())) != 0) {
    copy.registered.clear();  // more than ulimit -l allows, say: plain reads do
  }

  const int error = copy.run();
  io_uring_queue_exit(&copy.ring);
  if (error != 0) return fail("copying", std::strerror(error));
  std::printf("%llu bytes, %zu buffers registered\n", static_cast<unsigned long long>(copy.bytes),
              copy.registered.size());
  return 0;
}
