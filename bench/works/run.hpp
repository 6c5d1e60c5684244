#pragma once
// Which work is which function, and what is printed: one line of JSON.

#include <cstdio>
#include <optional>
#include <string>

#include "alone.hpp"
#include "hand_off.hpp"
#include "options.hpp"
#include "peer.hpp"
#include "pipeline.hpp"
#include "processes.hpp"
#include "together.hpp"

namespace zeropool_bench {

template <typename Peer>
std::optional<double> figure_alone(Peer& peer, const Options& options) {
  run_on(options.cpus[0]);
  typename Peer::Local local(peer);
  if (options.work == "pair") return pair(local, options);
  if (options.work == "many") return many(local, options);
  if (options.work == "mixed") return mixed(local, options);
  if (options.work == "ramp") return ramp(local, options);
  if constexpr (Peer::kTraits.batches) {
    if (options.work == "batch") return batch(local, options);
  }
  return std::nullopt;
}

template <typename Peer>
std::optional<double> figure_together(Peer& peer, const Options& options) {
  using Item = typename Peer::Local::Item;
  if (options.work == "threads") return threads(peer, options);
  if (options.work == "other_thread") {
    if constexpr (Peer::kTraits.moves) return hand_on<Peer, Item>(peer, options, 1, false);
    return hand_on<Peer, Parcel>(peer, options, 1, false);
  }
  if (options.work == "processes") return processes(peer, options);
  if constexpr (Peer::kTraits.processes) {
    if (options.work == "hand_off") return hand_on<Peer, Parcel>(peer, options, 1, true);
    if (options.work == "hand_off_32") return hand_on<Peer, Parcel>(peer, options, 32, true);
    if constexpr (Peer::kTraits.batches) {
      if (options.work == "contended") return contended(peer, options);
    }
  }
  return std::nullopt;
}

template <typename Peer>
std::optional<double> figure_of_pipeline(Peer& peer, const Options& options) {
  if (options.work == "pipeline") return pipeline(peer, options, 1, 0);
  if constexpr (!Peer::kTraits.only_pipeline) {
    if (options.work == "relay") return pipeline(peer, options, 1, 1);
    if (options.work == "fan_in") return pipeline(peer, options, 2, 0);
  }
  return std::nullopt;
}

template <typename Peer>
int run(const Options& options) {
  const bool alone = options.work == "pair" || options.work == "many" || options.work == "batch" ||
                     options.work == "mixed" || options.work == "ramp";
  const bool probed = options.cpus.size() > 1 && !alone;
  double before = 0;
  double after = 0;
  if (probed) before = ping_pong_ns(options.cpus[0], options.cpus[1]);
  std::optional<double> figure;
  {
    Peer peer(options);
    if constexpr (Peer::kTraits.only_batches) {
      if (options.work == "contended") figure = contended(peer, options);
    } else {
      if constexpr (!Peer::kTraits.only_pipeline) {
        figure = alone ? figure_alone(peer, options) : figure_together(peer, options);
      }
      if (!figure && !alone) figure = figure_of_pipeline(peer, options);
    }
    if (!figure) impossible("nothing for the work '" + options.work + "'");
    if (probed) after = ping_pong_ns(options.cpus[0], options.cpus[1]);
  }
  if (probed) {
    std::printf("{\"value\": %.4f, \"probes\": [%.1f, %.1f]}\n", *figure, before, after);
  } else {
    std::printf("{\"value\": %.4f, \"probes\": []}\n", *figure);
  }
  return 0;
}

}  // namespace zeropool_bench
