#pragma once
// Touched pipelines: each producer writes whole buffers, each stage after it reads them all, the last gives them back. At
// most four are on the way between two stages. GB/s that arrive.

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "alone.hpp"
#include "ends.hpp"
#include "lane.hpp"
#include "measure.hpp"

namespace zeropool_bench {

inline constexpr std::uint64_t kOnTheWay = 4;

// Every word, as a consumer of data does.
inline std::uint64_t read_all(const std::byte* data, std::size_t bytes) {
  std::array<std::uint64_t, 8> sums{};
  for (std::size_t at = 0; at + 64 <= bytes; at += 64) {
    std::array<std::uint64_t, 8> words;
    std::memcpy(words.data(), data + at, 64);
    for (std::size_t i = 0; i < 8; ++i) sums[i] += words[i];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

// `producers` of them; `relays` between one producer and the consumer.
template <typename Peer>
double pipeline(Peer& peer, const Options& options, int producers, int relays) {
  using Local = typename Peer::Local;
  constexpr int kMostLanes = 4;
  struct All {
    Start start;
    std::atomic<std::uint32_t> stop{0};
    std::atomic<std::uint64_t> sum{0};  // of what was read, so that it is
    std::array<Lane<Parcel>, kMostLanes> lanes;
  };
  All& all = shared<All>();
  const std::size_t bytes = hidden(options.bytes);
  const auto ends = static_cast<std::uint32_t>(producers + relays + 1);
  double rate = 0;

  const auto produce = [&](int lane) {
    Local local(peer, Ends{lane, -1});
    Sender<Local, Parcel> out(all.lanes[static_cast<std::size_t>(lane)], local);
    all.start.arrive(ends);
    Spin spin;
    for (std::uint64_t i = 0; all.stop.load(std::memory_order_relaxed) == 0;) {
      out.wait_for_room(kOnTheWay);
      typename Local::Item item{};
      if (!local.get(bytes, item)) {  // all are on the way
        spin();
        continue;
      }
      std::memset(local.data(item), static_cast<int>(++i), bytes);
      out.put_on_the_way(item);
      out.tell();
    }
    out.close();
  };
  const auto relay = [&](int from, int to) {
    Local local(peer, Ends{to, from});
    Receiver<Local, Parcel> in(all.lanes[static_cast<std::size_t>(from)], local);
    Sender<Local, Parcel> out(all.lanes[static_cast<std::size_t>(to)], local);
    all.start.arrive(ends);
    Spin spin;
    std::uint64_t sum = 0;
    while (!in.ended()) {
      if (in.waiting() == 0) {
        spin();
        continue;
      }
      out.wait_for_room(kOnTheWay);
      typename Local::Item item{};
      in.take(item);
      sum += read_all(local.data(item), bytes);
      out.put_on_the_way(item);
      out.tell();
      in.tell();
    }
    out.close();
    all.sum += sum;
  };
  const auto consume = [&] {
    const int first = relays;  // the last lane of a relay's chain, or the first of the producers'
    Local local(peer, Ends{-1, first, producers});
    std::vector<Receiver<Local, Parcel>> in;
    in.reserve(static_cast<std::size_t>(producers));
    for (int lane = first; lane < first + producers; ++lane) {
      in.emplace_back(all.lanes[static_cast<std::size_t>(lane)], local);
    }
    all.start.arrive(ends);
    Spin spin;
    std::uint64_t sum = 0;
    std::uint64_t count = 0;
    std::uint64_t counted = 0;
    const auto begun = Clock::now();
    auto measured = begun;
    bool warm = false;
    for (bool open = true; open;) {
      open = false;
      bool idle = true;
      for (auto& lane : in) {
        if (lane.waiting() != 0) {
          idle = false;
          typename Local::Item item{};
          lane.take(item);
          sum += read_all(local.data(item), bytes);
          local.put(item);
          lane.tell();
          ++count;
        }
        open = open || !lane.ended();
      }
      if (idle) spin();
      const auto now = Clock::now();
      // The first third warms up: every buffer of a pool that fits a cache has been used.
      if (!warm && std::chrono::duration<double>(now - begun).count() >= options.seconds / 2) {
        warm = true;
        measured = now;
        counted = count;
      }
      if (rate == 0 && warm && count > counted &&
          std::chrono::duration<double>(now - measured).count() >= options.seconds) {
        const double took = std::chrono::duration<double>(now - measured).count();
        rate = static_cast<double>((count - counted) * bytes) * 1e-9 / took;
        all.stop.store(1);
      }
    }
    all.sum += sum;
  };

  std::vector<std::function<void()>> bodies = {consume};
  for (int i = 0; i < producers; ++i) bodies.emplace_back([&produce, i] { produce(i); });
  for (int i = 0; i < relays; ++i) bodies.emplace_back([&relay, i] { relay(i, i + 1); });
  run_ends(Peer::kTraits.processes, options.cpus, bodies);
  return rate;
}

}  // namespace zeropool_bench
