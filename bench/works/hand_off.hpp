#pragma once
// Buffers that one end gets and the other puts, untouched: between threads, between processes, one by one and in batches.
// Nanoseconds for each.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "alone.hpp"
#include "ends.hpp"
#include "lane.hpp"
#include "measure.hpp"

namespace zeropool_bench {

template <typename Peer, typename Entry>
double hand_on(Peer& peer, const Options& options, std::uint32_t batch, bool as_processes) {
  using Local = typename Peer::Local;
  struct Both {
    Start start;
    Lane<Entry> lane;
  };
  // Items hold what only this process can; they lie in its own memory.
  std::unique_ptr<Both> own;
  if constexpr (!std::is_same_v<Entry, Parcel>) own = std::make_unique<Both>();
  Both& both = own ? *own : shared<Both>();
  const std::size_t bytes = hidden(options.bytes);
  double ns = 0;
  const auto giver = [&] {
    Local local(peer, Ends{0, -1});
    Sender<Local, Entry> out(both.lane, local);
    std::array<typename Local::Item, kLaneRoom> items{};
    both.start.arrive(2);
    ns = ns_each(options.seconds, [&](std::uint64_t n) {
      for (std::uint64_t done = 0; done < n; done += batch) {
        out.wait_for_room(kLaneRoom - batch + 1);
        std::size_t got = 0;
        if constexpr (Peer::kTraits.batches) {
          if (batch > 1) {
            Spin spin;
            while (got < batch) {
              got += local.get_batch(bytes, std::span(items).subspan(got, batch - got));
              spin();
            }
          }
        }
        for (; got < batch; ++got) must_get(local, bytes, items[got]);
        for (std::uint32_t i = 0; i < batch; ++i) out.put_on_the_way(items[i]);
        out.tell();
      }
      out.wait_until_taken();
    });
    out.close();
  };
  const auto taker = [&] {
    Local local(peer, Ends{-1, 0});
    Receiver<Local, Entry> in(both.lane, local);
    both.start.arrive(2);
    Spin spin;
    while (!in.ended()) {
      const std::uint64_t waiting = in.waiting();
      if (waiting == 0) {
        spin();
        continue;
      }
      for (std::uint64_t i = 0; i < waiting; ++i) {
        typename Local::Item item{};
        in.take(item);
        local.put(item);
      }
      in.tell();
    }
  };
  run_ends(as_processes, options.cpus, {giver, taker});
  return ns;
}

}  // namespace zeropool_bench
