#include "ffmpeg_frames/viewer.hpp"

#include <cerrno>
#include <deque>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <utility>

#include <zeropool/zeropool.hpp>

#include "ffmpeg_frames/picture.hpp"

namespace ffmpeg_frames {
namespace {

struct Held {
  Picture picture;
  zeropool::SharedBuffer buffer;
};

// False: the decoder has hung up, or died.
bool receive(Picture& picture) {
  const ssize_t bytes = ::recv(kViewerFd, &picture, sizeof(picture), 0);
  if (bytes == static_cast<ssize_t>(sizeof(picture))) return true;
  if (bytes == 0 || (bytes < 0 && errno == ECONNRESET)) return false;
  throw std::runtime_error("a message of the decoder is cut short");
}

void send(const Answer& answer) {
  const ssize_t sent = ::send(kViewerFd, &answer, sizeof(answer), MSG_NOSIGNAL);
  if (sent < 0 && errno != EPIPE && errno != ECONNRESET) {
    throw std::system_error(errno, std::generic_category(), "send");
  }
}

void answer_first(std::deque<Held>& held) {
  Held first = std::move(held.front());
  held.pop_front();
  const std::optional<Sum> sum = sum_of(first.picture, first.buffer.span());
  if (!sum) throw std::runtime_error("a picture does not lie within its buffer");
  first.buffer.reset();  // before the answer: with that it is the decoder's again
  send({first.picture.number, 0, *sum});
}

}  // namespace

int run_viewer(const std::string& socket, const std::string& pool_name, std::size_t behind) {
  zeropool::OpenOptions options;
  options.socket = socket;
  options.client_name = "viewer";
  auto pool = zeropool::Pool::open(pool_name, options);
  if (!pool) throw std::runtime_error(pool.error().sentence);
  std::deque<Held> held;
  Picture picture;
  while (receive(picture)) {
    if (picture.number == 0) {
      while (!held.empty()) answer_first(held);
      continue;
    }
    zeropool::SharedBuffer buffer = pool->adopt_shared(picture.handle);
    if (buffer.error_code() == zeropool::ErrorCode::stale_handle) {
      send({picture.number, 1, {}});  // stopped for longer than the lease
      continue;
    }
    if (!buffer) throw std::runtime_error("adopt_shared: " + buffer.error().sentence);
    held.push_back({picture, std::move(buffer)});
    if (held.size() > behind) answer_first(held);
  }
  return 0;
}

}  // namespace ffmpeg_frames
