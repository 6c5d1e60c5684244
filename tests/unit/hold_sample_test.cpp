// A sampled get is read whole or not at all, however far its writer came; and what a block keeps of very many stands for all
// that are still held.

#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hold_sample_block.hpp>

#include "tests/unit/support/schedule.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

using Cell = HoldSample<ScheduledAtomic>;

SampledGet sample(std::uint32_t number) {
  SampledGet get;
  get.mark = Mark::make(number, SlotState::kHeld, number);
  get.got_ns = 1000 + number;
  get.ring = number;
  get.slot = 10 + number;
  get.weight = 20 + number;
  get.depth = 1;
  get.frames[0] = 30 + number;
  return get;
}

bool same(const SampledGet& a, const SampledGet& b) {
  return a.mark == b.mark && a.got_ns == b.got_ns && a.ring == b.ring && a.slot == b.slot &&
         a.weight == b.weight && a.depth == b.depth && a.frames[0] == b.frames[0];
}

// Without the odd version in between.
void broken_write(Cell& cell, const SampledGet& get) {
  cell.mark.store(get.mark.word);
  cell.got_ns.store(get.got_ns);
  cell.slot.store(get.slot);
  cell.weight.store(get.weight);
  cell.frames[0].store(get.frames[0]);
  cell.depth.store(get.depth);
  cell.tag.store(cell.tag.load() + 2 * kSampleVersionOne);
}

struct Plan {
  bool broken = false;
  std::uint32_t writer_dies = kNever;
};

// A cell with sample 1, in which 2 is written while somebody reads.
Script make(const Plan& plan) {
  auto cell = std::make_shared<Cell>();
  Script script;
  script.actors.push_back({.body =
                               [=] {
                                 if (plan.broken) {
                                   broken_write(*cell, sample(2));
                                 } else {
                                   write_sample(*cell, sample(2));
                                 }
                               },
                           .kill_after = plan.writer_dies,
                           .prelude = [=] { write_sample(*cell, sample(1)); }});
  script.actors.push_back({.body = [=] {
    SampledGet read;
    if (!read_sample(*cell, read)) return;
    SampledGet second = sample(2);
    if (plan.broken) second.ring = 1;
    expect(same(read, sample(1)) || same(read, second), "a reader has a mix of two samples");
  }});
  script.finish = [=] {
    SampledGet read;
    if (read_sample(*cell, read)) {
      expect(same(read, sample(1)) || same(read, sample(2)),
             "a kill has left a mix of two samples");
    }
    // The next owner of the block.
    write_sample(*cell, sample(3));
    expect(read_sample(*cell, read) && same(read, sample(3)), "a cell cannot be used again");
  };
  return script;
}

// Slots of a pool of one ring, whose marks say which are held.
struct Slots {
  std::vector<std::uint64_t> marks;
  bool counts(const SampledGet& get) const {
    return get.slot < marks.size() && still_held(get, Mark{marks[get.slot]});
  }
};

// `gets` of them one after the other, of which each `leak_each`th is held for ever; what the block says is held.
std::uint64_t estimate(std::uint64_t seed, std::uint32_t gets, std::uint32_t leak_each,
                       std::uint32_t mean) {
  auto block = std::make_unique<HoldSampleBlock<std::atomic>>();
  SampleChance chance(seed);
  Slots slots;
  slots.marks.resize(gets);
  std::uint32_t gap = chance.gap(mean);
  for (std::uint32_t slot = 0; slot < gets; ++slot) {
    const Mark held = Mark::make(slot, SlotState::kHeld, 7);
    slots.marks[slot] = held.word;
    if (--gap == 0) {
      gap = chance.gap(mean);
      if (chance.passes()) {
        SampledGet get;
        get.mark = held;
        get.slot = slot;
        get.weight = chance.weight(mean);
        keep_sample(*block, chance, get,
                    [&](const SampledGet& there) { return slots.counts(there); });
      }
    }
    if (slot % leak_each != 0) slots.marks[slot] = held.next(SlotState::kFree, 0).word;
  }
  std::uint64_t sum = 0;
  for (const auto& cell : block->cells) {
    SampledGet get;
    if (read_sample(cell, get) && slots.counts(get)) sum += get.weight;
  }
  return sum;
}

}  // namespace

TEST_CASE("a sample is read whole or not at all, at every interleaving" *
          doctest::skip(!kCanSchedule)) {
  const Explored all = explore([] { return make({}); });
  CHECK_MESSAGE(all.failure.empty(), all.failure);
  CHECK(all.complete);
  CHECK(all.runs > 10);
}

TEST_CASE(
    "a writer killed after any store leaves the old sample, the new one, or none; the cell can be "
    "used again" *
    doctest::skip(!kCanSchedule)) {
  const Explored all =
      explore_kills([](std::uint32_t dies) { return make({.writer_dies = dies}); });
  CHECK_MESSAGE(all.failure.empty(), all.failure);
  CHECK(all.killed > 5);
}

TEST_CASE("a sample written without its version is found to be torn" *
          doctest::skip(!kCanSchedule)) {
  CHECK_FALSE(explore([] { return make({.broken = true}); }).failure.empty());
}

TEST_CASE("a sample counts for as long as its slot has the very mark of the get") {
  const SampledGet get = sample(5);
  CHECK(still_held(get, get.mark));
  CHECK_FALSE(still_held(get, get.mark.next(SlotState::kHeld, 5)));  // another generation
  CHECK_FALSE(still_held(get, get.mark.with_holder(SlotState::kHeld, 6)));
  CHECK_FALSE(still_held(get, get.mark.with_holder(SlotState::kFree, 0)));
  SampledGet forged = get;
  forged.mark = Mark{0};
  CHECK_FALSE(still_held(forged, Mark{0}));  // an absent slot is held by nobody
}

TEST_CASE("what a block keeps stands for all that is held, however much that is") {
  for (const std::uint32_t mean : {1U, 10U}) {
    CAPTURE(mean);
    constexpr std::uint32_t kGets = 40'000;
    constexpr std::uint32_t kSeeds = 200;
    std::uint64_t sum = 0;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) sum += estimate(seed, kGets, 10, mean);
    const double average = static_cast<double>(sum) / kSeeds;
    CHECK(average > 0.9 * kGets / 10);
    CHECK(average < 1.1 * kGets / 10);
  }
}

TEST_CASE("a few that are held are each in the block, among any number that come and go") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) CHECK(estimate(seed, 20'000, 2'000, 1) == 10);
}

TEST_CASE("a program of any rhythm meets gaps of all lengths, of the mean that was asked for") {
  SampleChance chance(42);
  for (const std::uint32_t mean : {1U, 2U, 100U}) {
    std::uint64_t sum = 0;
    std::uint32_t longest = 0;
    for (int i = 0; i < 100'000; ++i) {
      const std::uint32_t gap = chance.gap(mean);
      CHECK_GE(gap, 1U);
      longest = gap > longest ? gap : longest;
      sum += gap;
    }
    CHECK(longest == 2 * mean - 1);
    CHECK(static_cast<double>(sum) / 100'000 == doctest::Approx(mean).epsilon(0.02));
  }
  CHECK(SampleChance(1).gap(0xffffffffU) >= 1);
}
