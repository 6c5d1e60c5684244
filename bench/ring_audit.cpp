// What the audit that runs by itself costs: a whole pass over a ring of a million slots, by the step that a tick takes.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include <zeropool/lib/ring_audit.hpp>

namespace {

using namespace zeropool::lib;

constexpr std::uint32_t kSlots = 1'000'000;
constexpr std::uint32_t kStep = 64;

struct WholeRing {
  bool known(std::uint32_t client) const { return client == 1; }
  bool in_service(std::uint32_t slot) const { return service[slot]; }
  bool quarantined(std::uint32_t) const { return false; }
  bool shared(std::uint32_t, Mark) const { return false; }
  bool barrier() const { return true; }
  bool outlived(Withheld, std::uint32_t, std::uint64_t) const { return false; }
  std::vector<bool> service;
};

// Full magazines; every slot of them in the order that use would bring: none.
void BM_audit_a_million_slots(benchmark::State& state) {
  const auto magazine_slots = static_cast<std::uint32_t>(state.range(0));
  const std::uint32_t cells = kSlots / magazine_slots;
  const auto magazines = std::make_unique<Magazine<std::atomic>[]>(cells);
  const auto slots = std::make_unique<SlotWords<std::atomic>[]>(kSlots);
  std::atomic<std::uint32_t> cells_published = cells;
  std::atomic<std::uint32_t> slots_published = kSlots;
  RingView<std::atomic> view;
  view.cells = magazines.get();
  view.slots = slots.get();
  view.cells_published = &cells_published;
  view.slots_published = &slots_published;
  view.cell_capacity = cells;
  view.slot_capacity = kSlots;
  view.magazine_slots = magazine_slots;
  for (std::uint32_t i = 0; i < kSlots; ++i) {
    slots[i].mark.store(Mark::make(1, SlotState::kFree, 0).word);
    const auto other = static_cast<std::uint32_t>((std::uint64_t{i} * 514229) % kSlots);
    if (i / magazine_slots < cells) {
      magazines[i / magazine_slots].slots[i % magazine_slots].store(other);
      magazines[i / magazine_slots].count.store(i % magazine_slots + 1);
    }
  }
  WholeRing facts{std::vector<bool>(kSlots, true)};
  RingAudit<std::atomic, WholeRing> audit;
  std::uint32_t turn = 0;
  std::uint64_t found = 0;
  for (auto _ : state) {
    audit.begin(view, 0, turn++);
    while (!audit.done()) audit.step(view, facts, kStep);
    found += audit.findings().repairs();
  }
  if (found != 0) state.SkipWithError("a whole ring was mended");
  state.SetItemsProcessed(state.iterations() * kSlots);
}
BENCHMARK(BM_audit_a_million_slots)->Arg(16)->Arg(50)->Unit(benchmark::kMillisecond);

}  // namespace
