#pragma once
// Works of several threads or processes at once, each with its own buffers: hits beside each other, contended batches.
// Nanoseconds for one get and its put, as the first of them sees it.

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "alone.hpp"
#include "measure.hpp"
#include "options.hpp"
#include "peer.hpp"
#include "processes.hpp"

namespace zeropool_bench {

struct Gate {
  alignas(64) std::atomic<std::uint32_t> ready{0};
  alignas(64) std::atomic<std::uint32_t> stop{0};
};

// Runs `others` turns of `work(local, n)` on the other CPUs, as threads, while the first measures.
template <typename Peer, typename Work>
double beside_threads(Peer& peer, const Options& options, Work work) {
  Gate gate;
  std::vector<std::jthread> threads;
  for (std::size_t i = 1; i < options.cpus.size(); ++i) {
    threads.emplace_back([&, cpu = options.cpus[i]] {
      run_on(cpu);
      typename Peer::Local local(peer);
      work(local, 256);
      ++gate.ready;
      while (gate.stop.load(std::memory_order_relaxed) == 0) work(local, 256);
    });
  }
  run_on(options.cpus[0]);
  typename Peer::Local local(peer);
  Spin spin;
  while (gate.ready.load() + 1 < options.cpus.size()) spin();
  const double ns = ns_each(options.seconds, [&](std::uint64_t n) { work(local, n); });
  gate.stop = 1;
  threads.clear();
  return ns;
}

// The same as processes.
template <typename Peer, typename Work>
double beside_processes(Peer& peer, const Options& options, Work work) {
  Gate& gate = shared<Gate>();
  std::list<Child> children;
  for (std::size_t i = 1; i < options.cpus.size(); ++i) {
    children.emplace_back(options.cpus[i], [&] {
      {
        typename Peer::Local local(peer);
        work(local, 256);
        ++gate.ready;
        while (gate.stop.load(std::memory_order_relaxed) == 0) work(local, 256);
      }
      std::exit(0);  // as in run_ends()
    });
  }
  run_on(options.cpus[0]);
  typename Peer::Local local(peer);
  Spin spin;
  while (gate.ready.load() + 1 < options.cpus.size()) spin();
  const double ns = ns_each(options.seconds, [&](std::uint64_t n) { work(local, n); });
  gate.stop = 1;
  children.clear();
  return ns;
}

template <typename Peer>
double threads(Peer& peer, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  return beside_threads(peer, options,
                        [bytes](auto& local, std::uint64_t n) { pairs(local, bytes, n); });
}

template <typename Peer>
double processes(Peer& peer, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  return beside_processes(peer, options,
                          [bytes](auto& local, std::uint64_t n) { pairs(local, bytes, n); });
}

inline constexpr std::size_t kContendedBatch = 32;

template <typename Peer>
double contended(Peer& peer, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  const auto work = [bytes](auto& local, std::uint64_t n) {
    using Local = std::remove_reference_t<decltype(local)>;
    std::array<typename Local::Item, kContendedBatch> items{};
    batches<Local>(local, bytes, items, n);
  };
  return beside_processes(peer, options, work) / kContendedBatch;
}

}  // namespace zeropool_bench
