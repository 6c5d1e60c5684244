#include "daemon/event_loop.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kWakeToken = 0;
constexpr std::uint64_t kTimerToken = ~std::uint64_t{0};
// Rounds of "look again" before the loop looks at its descriptors all the same.
constexpr int kLooks = 8;

void drain(int fd) {
  std::uint64_t value = 0;
  while (::read(fd, &value, sizeof(value)) == static_cast<ssize_t>(sizeof(value))) {
  }
}

}  // namespace

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

std::unique_ptr<EventLoop> EventLoop::create(std::string& why) {
  std::unique_ptr<EventLoop> loop(new EventLoop());
  loop->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  loop->timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  epoll_event wake{};
  wake.events = EPOLLIN;
  wake.data.u64 = kWakeToken;
  epoll_event timer{};
  timer.events = EPOLLIN;
  timer.data.u64 = kTimerToken;
  if (!loop->epoll_ || !loop->wake_ || !loop->timer_ ||
      ::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &wake) != 0 ||
      ::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->timer_.get(), &timer) != 0) {
    why = std::string("cannot set up the event loop (epoll, eventfd, timerfd): ") +
          std::strerror(errno);
    return nullptr;
  }
  return loop;
}

bool EventLoop::watch(int fd, std::uint32_t events, Handler handler) {
  unwatch(fd);
  const std::uint64_t token = next_token_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  watches_[token] = Watch{fd, std::make_shared<Handler>(std::move(handler))};
  token_of_fd_[fd] = token;
  return true;
}

void EventLoop::unwatch(int fd) {
  const auto found = token_of_fd_.find(fd);
  if (found == token_of_fd_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watches_.erase(found->second);
  token_of_fd_.erase(found);
}

EventLoop::TimerId EventLoop::after(std::chrono::nanoseconds delay, std::function<void()> work) {
  const auto wait = static_cast<std::uint64_t>(delay.count() > 0 ? delay.count() : 0);
  const std::uint64_t due = monotonic_ns() + wait;
  const TimerId id = next_timer_++;
  timers_.emplace(std::make_pair(due, id), std::move(work));
  due_of_timer_[id] = due;
  return id;
}

void EventLoop::cancel(TimerId timer) {
  const auto found = due_of_timer_.find(timer);
  if (found == due_of_timer_.end()) return;
  timers_.erase({found->second, timer});
  due_of_timer_.erase(found);
}

void EventLoop::run_in_loop(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    sent_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t wrote = ::write(wake_.get(), &one, sizeof(one));
}

void EventLoop::around_sleep(std::function<bool()> before, std::function<void()> after) {
  before_sleep_ = std::move(before);
  after_sleep_ = std::move(after);
}

void EventLoop::run() {
  while (!stopped_) run_once(-1);
}

void EventLoop::run_once(int timeout_ms) {
  bool found = false;
  for (int look = 0; before_sleep_ && look < kLooks; ++look) {
    found = before_sleep_();
    if (!found) break;
  }
  if (stopped_) return;
  arm();
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 found ? 0 : timeout_ms);
  if (after_sleep_) after_sleep_();
  for (int i = 0; i < count; ++i) {
    const std::uint64_t token = events[static_cast<std::size_t>(i)].data.u64;
    if (token == kWakeToken) {
      drain(wake_.get());
      continue;
    }
    if (token == kTimerToken) {
      drain(timer_.get());
      armed_for_ns_ = 0;
      continue;
    }
    const auto watch = watches_.find(token);
    if (watch == watches_.end()) continue;  // E2
    const std::shared_ptr<Handler> handler = watch->second.handler;
    (*handler)(events[static_cast<std::size_t>(i)].events);
  }
  run_sent_work();
  run_due_timers();
}

void EventLoop::stop() {
  run_in_loop([this] { stopped_ = true; });
}

void EventLoop::run_sent_work() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work.swap(sent_);
  }
  for (const std::function<void()>& item : work) item();
}

void EventLoop::run_due_timers() {
  const std::uint64_t now = monotonic_ns();
  // A timer that a timer sets is not due in this round.
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const auto first = timers_.begin();
    const std::function<void()> work = std::move(first->second);
    due_of_timer_.erase(first->first.second);
    timers_.erase(first);
    work();
  }
}

void EventLoop::arm() {
  const std::uint64_t due = timers_.empty() ? 0 : timers_.begin()->first.first;
  if (due == armed_for_ns_) return;
  itimerspec when{};  // all zero disarms: E1
  when.it_value.tv_sec = static_cast<time_t>(due / 1'000'000'000U);
  when.it_value.tv_nsec = static_cast<long>(due % 1'000'000'000U);
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  armed_for_ns_ = due;
}

}  // namespace zeropool::daemon
