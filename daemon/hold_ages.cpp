#include "daemon/hold_ages.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "daemon/hold_watch.hpp"
#include "zeropool/lib/hold_sample_block.hpp"

namespace zeropool::daemon {
namespace {

using ClientClass = std::pair<std::uint32_t, std::uint64_t>;  // id, class_bytes

// What is known of one client and class.
struct Known {
  std::uint64_t held = 0;     // by the daemon's looks: all, of any age
  std::uint64_t buffers = 0;  // old enough, by the daemon's looks
  std::uint64_t sampled = 0;  // old enough, by samples
  std::uint64_t samples = 0;
  bool all_watched = true;
  std::uint64_t oldest_ns = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> watched_ages;  // age, stands for
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sampled_ages;
};

// Half of what they stand for is at least so old.
std::uint64_t median(std::vector<std::pair<std::uint64_t, std::uint64_t>>& ages) {
  std::sort(ages.begin(), ages.end());
  std::uint64_t all = 0;
  for (const auto& [age, weight] : ages) all += weight;
  std::uint64_t below = 0;
  for (const auto& [age, weight] : ages) {
    below += weight;
    if (2 * below >= all) return age;
  }
  return 0;
}

class Collector {
 public:
  Collector(const Pool& pool, const HoldQuery& query, std::uint64_t now_ns,
            const HoldBounds& bounds)
      : pool_(pool),
        query_(query),
        now_ns_(now_ns),
        bounds_(bounds),
        chance_(now_ns),
        sampled_since_(pool.memory->ring_count()) {
    for (const ClientInfo& client : pool.clients) {
      if (query.client == 0 || query.client == client.id) clients_.insert(client.id);
    }
  }

  PoolHolds collect() {
    read_samples();
    const std::uint32_t rings = pool_.holds ? pool_.memory->ring_count() : 0;
    for (std::uint32_t ring = 0; ring < rings && !spent(); ++ring) read_watch(ring);
    PoolHolds holds;
    holds.complete = complete_;
    if (pool_.holds && pool_.holds->started_ns() != 0) {
      holds.watched_ns = now_ns_ - std::min(now_ns_, pool_.holds->started_ns());
    }
    const bool watched_long_enough = holds.watched_ns >= query_.older_than_ns;
    for (auto& [key, known] : known_) {
      known.sampled = std::min(known.sampled, most(known, known.samples));  // A2
      HoldAges ages{
          key.first,       key.second, known.buffers, known.all_watched && complete_, known.samples,
          known.oldest_ns, 0};
      // Where the daemon has not looked for long enough, or not at these slots.
      const bool by_samples =
          known.sampled > known.buffers && (!watched_long_enough || known.buffers == 0);
      if (by_samples) {
        ages.buffers = known.sampled;
        ages.exact = false;
      }
      if (ages.buffers == 0) continue;
      ages.median_ns = median(by_samples ? known.sampled_ages : known.watched_ages);
      holds.ages.push_back(ages);
    }
    for (auto& [key, stack] : stacks_) {
      const Known& known = known_[{stack.client, stack.class_bytes}];
      stack.buffers = std::min(stack.buffers, most(known, stack.samples));  // A2
      holds.stacks.push_back(std::move(stack));
    }
    const auto more = [](const auto& a, const auto& b) {
      return a.buffers * a.class_bytes > b.buffers * b.class_bytes;
    };
    std::stable_sort(holds.ages.begin(), holds.ages.end(), more);
    std::stable_sort(holds.stacks.begin(), holds.stacks.end(), more);
    return holds;
  }

 private:
  // Each sample that counts is of a slot that is held, watched or not.
  static std::uint64_t most(const Known& known, std::uint64_t samples) {
    return std::max(known.held, samples);
  }
  std::uint64_t age_of(std::uint64_t since_ns) const {
    return now_ns_ - std::min(now_ns_, since_ns);  // a time that has not come is forged
  }
  bool old_enough(std::uint64_t age_ns) const { return age_ns >= query_.older_than_ns; }

  // A4
  bool spent() {
    complete_ = complete_ && !(bounds_.spent && bounds_.spent());
    return !complete_;
  }

  void read_samples() {
    const PoolMemory& memory = *pool_.memory;
    const std::uint32_t blocks = memory.published().samples;
    for (std::uint32_t block = 0; block < blocks && !spent(); ++block) {
      for (const lib::HoldSample<std::atomic>& cell : memory.view().samples(block).cells) {
        lib::SampledGet get;
        if (lib::read_sample(cell, get) && counts(get)) keep(get);
      }
    }
    for (const lib::SampledGet& get : kept_) add_sample(get);
    kept_ = {};
  }

  // A3
  void keep(const lib::SampledGet& get) {
    if (!chance_.passes()) return;
    kept_.push_back(get);
    if (kept_.size() <= bounds_.most_samples) return;
    std::erase_if(kept_, [&](const lib::SampledGet&) { return chance_.coin(); });
    chance_.thin();
  }

  // A1
  bool counts(const lib::SampledGet& get) const {
    if (get.ring >= pool_.memory->ring_count() || get.weight == 0) return false;
    const lib::SharedRingView view = pool_.memory->ring(get.ring);
    if (get.slot >= view.slot_bound()) return false;
    const lib::Mark now{view.slots[get.slot].mark.load(std::memory_order_relaxed)};
    return lib::still_held(get, now) && clients_.contains(now.client());
  }

  void add_sample(const lib::SampledGet& get) {
    // One a slot: a second one is a copy that somebody made.
    if (!sampled_since_[get.ring].emplace(get.slot, get.got_ns).second) return;
    const std::uint64_t age_ns = age_of(get.got_ns);
    const std::uint64_t class_bytes = pool_.memory->plan().rings[get.ring].class_bytes;
    Known& known = known_[{get.mark.client(), class_bytes}];
    if (!old_enough(age_ns)) return;
    const std::uint64_t weight = std::uint64_t{get.weight} << chance_.thinned();
    known.sampled += weight;
    ++known.samples;
    known.oldest_ns = std::max(known.oldest_ns, age_ns);
    known.sampled_ages.emplace_back(age_ns, weight);
    if (get.depth == 0) return;
    std::vector<std::uint64_t> key = {get.mark.client(), class_bytes};
    key.insert(key.end(), get.frames, get.frames + get.depth);
    HoldStack& stack = stacks_[key];
    stack.client = get.mark.client();
    stack.class_bytes = class_bytes;
    stack.buffers += weight;
    ++stack.samples;
    stack.oldest_ns = std::max(stack.oldest_ns, age_ns);
    stack.frames.assign(get.frames, get.frames + get.depth);
  }

  void read_watch(std::uint32_t ring) {
    const HoldWatch& watch = *pool_.holds;
    const lib::SharedRingView view = pool_.memory->ring(ring);
    const std::uint64_t class_bytes = pool_.memory->plan().rings[ring].class_bytes;
    const std::uint64_t stands_for = watch.stands_for(ring);
    for (const HoldWatch::Watched& watched : watch.watched(ring)) {
      const lib::Mark mark{view.slots[watched.slot].mark.load(std::memory_order_relaxed)};
      if (mark.state() != lib::SlotState::kHeld || !clients_.contains(mark.client())) continue;
      Known& known = known_[{mark.client(), class_bytes}];
      known.held += stands_for;
      known.all_watched = known.all_watched && stands_for == 1;
      std::uint64_t since_ns = watch.since_ns(watched, mark, now_ns_);
      const auto sampled = sampled_since_[ring].find(watched.slot);
      if (sampled != sampled_since_[ring].end()) since_ns = std::min(since_ns, sampled->second);
      const std::uint64_t age_ns = age_of(since_ns);
      if (!old_enough(age_ns)) continue;
      known.buffers += stands_for;
      known.oldest_ns = std::max(known.oldest_ns, age_ns);
      known.watched_ages.emplace_back(age_ns, stands_for);
    }
  }

  const Pool& pool_;
  const HoldQuery& query_;
  std::uint64_t now_ns_;
  const HoldBounds& bounds_;
  bool complete_ = true;
  lib::SampleChance chance_;
  std::vector<lib::SampledGet> kept_;
  std::unordered_set<std::uint32_t> clients_;
  std::vector<std::unordered_map<std::uint32_t, std::uint64_t>> sampled_since_;  // by ring and slot
  std::map<ClientClass, Known> known_;
  std::map<std::vector<std::uint64_t>, HoldStack> stacks_;
};

}  // namespace

PoolHolds hold_ages(const Pool& pool, const HoldQuery& query, std::uint64_t now_ns,
                    const HoldBounds& bounds) {
  return Collector(pool, query, now_ns, bounds).collect();
}

}  // namespace zeropool::daemon
