#pragma once
// Ring: io_uring for Boost.Asio: one awaitable operation a request, completions seen by the io_context.
//
// Thread safety: one thread's.
// Lifetime: what a request names (buffers, paths) must live until it has ended; operations cannot be cancelled. So let the
// io_context run until they have ended.

#include <cstdint>
#include <liburing.h>
#include <span>
#include <string>
#include <sys/uio.h>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace file_server {

class Ring {
 public:
  // Empty, or why there is no io_uring here.
  static std::string why_not();

  // Throws std::system_error.
  explicit Ring(const boost::asio::any_io_executor& executor);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // False: the kernel refuses (ulimit -l, say); requests then name plain addresses.
  bool register_buffers(std::span<const iovec> buffers);

  // prepare(io_uring_sqe*) fills the request; its result, negative errno for an error.
  template <typename Prepare>
  boost::asio::awaitable<int> request(Prepare prepare) {
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(int)>(
        [this](auto handler, Prepare fill) {
          io_uring_sqe* request = next();
          fill(request);
          io_uring_sqe_set_data(request, new WaitingFor<decltype(handler)>(std::move(handler)));
          ++under_way_;
          submit_soon();
        },
        boost::asio::use_awaitable, std::move(prepare));
  }

 private:
  struct Waiting {
    virtual ~Waiting() = default;
    virtual void ended(int result) = 0;
  };
  template <typename Handler>
  struct WaitingFor final : Waiting {
    explicit WaitingFor(Handler&& its) : handler(std::move(its)) {}
    void ended(int result) override { std::move(handler)(result); }
    Handler handler;
  };

  io_uring_sqe* next();
  // What is asked for in one turn of the loop goes to the kernel in one call.
  void submit_soon();
  void submit();
  void watch();
  void collect();

  io_uring ring_{};
  boost::asio::posix::stream_descriptor events_;
  std::size_t under_way_ = 0;
  bool submits_ = false;
  bool watches_ = false;
};

}  // namespace file_server
