#include "actor.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>

#include "load.hpp"

namespace zeropool::soak {
namespace {

using namespace std::chrono_literals;
using testing::has_pattern;
using testing::write_pattern;

constexpr std::size_t kMostHeld = 10;
constexpr std::size_t kStep = 512;  // bytes between the words of a pattern

}  // namespace

Actor::Actor(Pool pool, Scene scene, std::size_t place, std::uint64_t seed, bool shown, bool breaks)
    : pool_(std::move(pool)),
      scene_(scene),
      place_(place),
      random_(seed),
      clock_(scene.board, scene.board.clients[place], shown),
      breaks_(breaks) {
  clock_.restart();
}

std::size_t Actor::any_size() {
  constexpr std::size_t sizes[] = {64, 100, 4096, 4096, 5000, 65536, 65536, 1 << 20};
  return sizes[random_.below(std::size(sizes))];
}

void Actor::refused(ErrorCode code) {
  scene_.board.failed_gets.fetch_add(1, kRelaxed);
  const auto number = std::min<std::size_t>(static_cast<std::size_t>(code), kErrorCodes - 1);
  scene_.board.failed_by_code[number].fetch_add(1, kRelaxed);
}

// An order waits by right, as long as it was told to and no longer.
Buffer Actor::get(std::size_t bytes) {
  constexpr std::chrono::nanoseconds waits[] = {0ms, 2ms, 20ms, 100ms};
  const std::chrono::nanoseconds wait = waits[random_.below(std::size(waits))];
  clock_.allow(wait.count());
  Buffer buffer = wait == 0ms ? pool_.try_get(bytes) : pool_.get(bytes, wait);
  // A cache and a ring that are empty are no failure of a get that never waits.
  if (!buffer && wait > 0ms) refused(buffer.error_code());
  return buffer;
}

void Actor::keep(Buffer buffer) {
  if (!buffer) return;
  const std::uint64_t mark = random_();
  write_pattern(buffer, mark, kStep);
  held_.push_back({std::move(buffer), mark});
}

void Actor::check(const Buffer& buffer, std::uint64_t mark) {
  if (!has_pattern(buffer, mark, kStep)) scene_.board.doubled.fetch_add(1, kRelaxed);
}

void Actor::drop() {
  std::swap(held_[random_.below(held_.size())], held_.back());
  check(held_.back().buffer, held_.back().mark);
  if (breaks_) stale_ = held_.back().buffer.data();
  held_.pop_back();
}

void Actor::let_go() {
  while (!held_.empty()) {
    drop();
    clock_.completed();
  }
  clock_.pause();
}

void Actor::batch() {
  const std::array<std::size_t, 4> sizes = {any_size(), 4096, any_size(), 64};
  clock_.allow(kPoolWait.count());
  auto got = pool_.get_batch(sizes);
  if (!got) refused(got.error_code());
  for (Buffer& buffer : got) keep(std::move(buffer));
}

void Actor::span() {
  std::array<Buffer, 12> buffers;
  clock_.allow(kPoolWait.count());
  const std::size_t got = pool_.get_batch(4096, buffers);
  if (got == 0) refused(static_cast<ErrorCode>(zp_last_error_code()));
  const std::uint64_t mark = random_();
  for (std::size_t i = 0; i < got; ++i) write_pattern(buffers[i], mark + i, kStep);
  for (std::size_t i = 0; i < got; ++i) check(buffers[i], mark + i);
  pool_.put_batch(buffers);
}

// To whoever is in some place; every other time only as long as that one lives.
void Actor::hand_on() {
  if (held_.empty()) return;
  Held given = std::move(held_.back());
  held_.pop_back();
  const std::size_t to = random_.below(kClients);
  const std::uint32_t receiver = scene_.board.clients[to].client_id.load(kRelaxed);
  const Parcel parcel{std::move(given.buffer).release(random_.below(2) == 0 ? receiver : 0),
                      given.mark};
  if (!parcel.handle) return;  // the buffer puts itself back
  if (scene_.mailboxes.leave(to, parcel)) return;
  Buffer back = pool_.adopt(parcel.handle);
  if (back) held_.push_back({std::move(back), given.mark});
}

void Actor::receive() {
  Parcel parcel{};
  if (!scene_.mailboxes.take(place_, parcel)) return;
  Buffer buffer = pool_.adopt(parcel.handle);
  if (!buffer) return;  // its lease is over, or who it was for is
  scene_.board.adopted.fetch_add(1, kRelaxed);
  check(buffer, parcel.mark);
  held_.push_back({std::move(buffer), parcel.mark});
}

// Until the budget is spent and an order has waited in vain.
void Actor::take_what_there_is() {
  for (std::size_t most = held_.size() + 40; held_.size() < most;) {
    clock_.allow(std::chrono::nanoseconds(20ms).count());
    Buffer buffer = pool_.get(1 << 20, 20ms);
    if (!buffer) {
      refused(buffer.error_code());
      break;
    }
    keep(std::move(buffer));
    clock_.completed();
  }
}

void Actor::step() {
  if (stale_ != nullptr) testing::write_pattern(stale_, 64, random_());  // only a breaker has one
  if (held_.size() > kMostHeld) {
    drop();
  } else {
    switch (random_.below(16)) {
      case 0: batch(); break;
      case 1: span(); break;
      case 2: hand_on(); break;
      case 3:
      case 4: receive(); break;
      case 5: random_.below(60) == 0 ? take_what_there_is() : keep(get(any_size())); break;
      case 6:
      case 7:
      case 8:
      case 9:
      case 10: keep(get(any_size())); break;
      default: held_.empty() ? keep(get(any_size())) : drop();
    }
  }
  clock_.completed();
}

}  // namespace zeropool::soak
