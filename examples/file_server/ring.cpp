#include "file_server/ring.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include <boost/asio/post.hpp>

namespace file_server {
namespace {

constexpr unsigned kEntries = 512;
constexpr unsigned kCompletions = 8192;
// Threads of the kernel for what it cannot do at once (opening a file): few, however many clients there are.
constexpr unsigned kKernelThreads = 4;

int set_up(io_uring& ring) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE;
  params.cq_entries = kCompletions;
  return io_uring_queue_init_params(kEntries, &ring, &params);
}

}  // namespace

std::string Ring::why_not() {
  io_uring ring{};
  if (const int code = set_up(ring); code != 0) return std::strerror(-code);
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  bool enough = probe != nullptr;
  for (const int operation : {IORING_OP_OPENAT2, IORING_OP_STATX, IORING_OP_READ,
                              IORING_OP_READ_FIXED, IORING_OP_CLOSE}) {
    enough = enough && io_uring_opcode_supported(probe, operation) != 0;
  }
  io_uring_free_probe(probe);
  io_uring_queue_exit(&ring);
  return enough ? "" : "this kernel's io_uring cannot open files (5.6 can)";
}

Ring::Ring(const boost::asio::any_io_executor& executor) : events_(executor) {
  if (const int code = set_up(ring_); code != 0) {
    throw std::system_error(-code, std::generic_category(), "io_uring");
  }
  unsigned workers[2] = {kKernelThreads, kKernelThreads};
  io_uring_register_iowq_max_workers(&ring_, workers);  // older kernels: as many as they like
  events_.assign(ring_.ring_fd);                        // readable when there are completions
}

Ring::~Ring() {
  events_.release();
  io_uring_queue_exit(&ring_);
}

bool Ring::register_buffers(std::span<const iovec> buffers) {
  return io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size())) ==
         0;
}

io_uring_sqe* Ring::next() {
  io_uring_sqe* request = io_uring_get_sqe(&ring_);
  while (request == nullptr) {  // full
    submit();
    request = io_uring_get_sqe(&ring_);
  }
  return request;
}

void Ring::submit_soon() {
  if (submits_) return;
  submits_ = true;
  boost::asio::post(events_.get_executor(), [this] {
    submits_ = false;
    submit();
  });
}

void Ring::submit() {
  const int code = io_uring_submit(&ring_);
  if (code < 0 && code != -EINTR && code != -EAGAIN && code != -EBUSY) {
    throw std::system_error(-code, std::generic_category(), "io_uring_submit");
  }
  if (io_uring_sq_ready(&ring_) > 0) submit_soon();  // the kernel is busy: once more
  watch();
}

void Ring::watch() {
  if (watches_ || under_way_ == 0) return;
  watches_ = true;
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       watches_ = false;
                       if (!error) collect();
                     });
}

void Ring::collect() {
  io_uring_cqe* done = nullptr;
  while (io_uring_peek_cqe(&ring_, &done) == 0) {
    const std::unique_ptr<Waiting> waiting(static_cast<Waiting*>(io_uring_cqe_get_data(done)));
    const int result = done->res;
    io_uring_cqe_seen(&ring_, done);
    --under_way_;
    waiting->ended(result);
  }
  watch();
}

}  // namespace file_server
