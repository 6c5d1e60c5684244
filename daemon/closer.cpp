#include "daemon/closer.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace zeropool::daemon {
namespace {

// More than a queue holds (its bytes are bounded by net.core.wmem_max of the sender); the rest goes at the close.
constexpr int kMostUnread = 4096;

}  // namespace

// Shared with the threads, so that it is there for one whose close ends after the Closer's life.
struct Closer::State {
  State(Limits most, Close how) : limits(most), close(std::move(how)) {}

  void work();
  bool next(int& fd);

  const Limits limits;
  const Close close;
  std::mutex mutex;
  std::condition_variable something_waits;
  std::deque<int>
      waiting;  // not UniqueFd: whoever is last to let go of this must not close, and hang
  std::size_t threads = 0;
  std::size_t idle = 0;  // of them
  bool ending = false;
};

// False: nothing has come for long enough.
bool Closer::State::next(int& fd) {
  std::unique_lock<std::mutex> lock(mutex);
  ++idle;
  something_waits.wait_for(lock, limits.idle, [this] { return ending || !waiting.empty(); });
  --idle;
  if (waiting.empty()) {
    --threads;
    return false;
  }
  fd = waiting.front();
  waiting.pop_front();
  return true;
}

void Closer::State::work() {
  ::prctl(PR_SET_NAME, "closer");
  for (int fd = -1; next(fd);) close(fd);
}

Closer::Closer(Limits limits, Close close)
    : state_(std::make_shared<State>(limits, std::move(close))) {}

Closer::~Closer() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->ending = true;
  state_->something_waits.notify_all();
}

void Closer::close(lib::UniqueFd fd) {
  if (!fd) return;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->waiting.push_back(fd.get());
    fd.release();
  }
  start_some();
}

bool Closer::full() {
  start_some();
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->waiting.size() >= state_->limits.waiting;
}

// One more thread, where more waits than threads are free.
void Closer::start_some() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->waiting.empty()) return;
  state_->something_waits.notify_one();
  if (state_->idle >= state_->waiting.size() || state_->threads >= state_->limits.threads) return;
  try {
    std::thread([state = state_] { state->work(); }).detach();
    ++state_->threads;
  } catch (const std::system_error&) {
    // As many threads as this process may have: those there are go on, and the next call tries again.
  }
}

std::size_t Closer::threads() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->threads;
}

std::size_t Closer::waiting() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->waiting.size();
}

void Closer::close_emptied(int fd) {
  for (int i = 0; i < kMostUnread; ++i) {
    char byte = 0;
    if (::recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) <= 0) break;
  }
  ::close(fd);
}

}  // namespace zeropool::daemon
