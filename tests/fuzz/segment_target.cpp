// Any bytes in a pool's control segment, written by a client between any two steps of a daemon that serves orders, grows,
// trims, reclaims, sweeps leases, audits and is scraped. An input is a sequence of twelve-byte steps; honest clients
// work in between, so that there is something to damage.
//
// It never crashes, never touches what is not committed, never exceeds the budget; the pool next door stays whole.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/audit_watch.hpp"
#include "daemon/client_reclaim.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/exporter.hpp"
#include "daemon/hold_ages.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/holders.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/statistics.hpp"
#include "tests/fuzz/support/small_machine.hpp"
#include "zeropool/lib/audit.hpp"
#include "zeropool/lib/hand_off.hpp"
#include "zeropool/lib/slot_transfer.hpp"

namespace {

using namespace zeropool;
using namespace zeropool::daemon;
using zeropool::fuzz::require;
using zeropool::fuzz::SmallMachine;

constexpr std::size_t kStepBytes = 12;
constexpr std::size_t kMostSteps = 200;
constexpr std::uint32_t kHonestClients = 3;
constexpr std::uint32_t kShown = 64;  // shares and pins that are published at the start

struct Step {
  std::uint8_t action = 0;
  std::uint8_t table = 0;
  std::uint16_t index = 0;
  std::uint64_t value = 0;
};

struct Held {
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  lib::Mark mark;
};

class World {
 public:
  explicit World(SmallMachine& machine) : machine_(machine) {
    const auto clock = [this] { return now_ns_; };
    other_ = machine_.open_pool("other", {clock, {}, {}});
    const auto trim_other = [this](std::uint64_t bytes) {
      return other_->memory->trim(bytes, lib::kNone);
    };
    pool_ = machine_.open_pool("fuzzed", {clock, {}, trim_other});
    for (std::uint32_t k = 0; k < kHonestClients; ++k) add_client();
    pool_->memory->header().samples_wanted.store(1);
    pool_->memory->top_up();
    machine_.commits.finish();
  }

  void take(const Step& step) {
    switch (step.action % 32) {
      case 0:
      case 1:
      case 2:
      case 3: write<std::uint64_t>(step); break;
      case 4:
      case 5:
      case 6: write<std::uint32_t>(step); break;
      case 7: get(step); break;
      case 8: put(step); break;
      case 9: hand_off(step); break;
      case 10: order(step); break;
      case 11: claim(step); break;
      case 12: die(step); break;
      case 13: pool_->orders->look(); break;
      case 14: pool_->orders->look_everywhere(); break;
      case 15: pool_->orders->serve(); break;
      case 16: pool_->orders->next_look(); break;
      case 17: pool_->memory->grow(ring_of(step), 1 + step.value % 4096); break;
      case 18: pool_->memory->top_up(); break;
      case 19: pool_->memory->trim(step.value % (32U << 20), lib::kNone); break;
      case 20: pool_->memory->trim(step.value % (32U << 20), ring_of(step)); break;
      case 21: now_ns_ += step.value % 3'000'000'000U; break;
      case 22: pool_->leases->look(now_ns_); break;
      case 23: pool_->leases->sweep(now_ns_); break;
      case 24:
        audit();
        pool_->audit->tick(now_ns_);
        break;
      case 25:
        publish_holders(*pool_, holdings(*pool_));
        look_at_holds();
        break;
      case 26: scrape(); break;
      case 27: machine_.commits.finish(); break;
      case 28: pool_->memory->reconfigure(pool_->config); break;
      case 29: pool_->orders->refuse_all(lib::ErrorCode::stopping); break;
      case 30: check_neighbour(); break;
      default:
        machine_.commits.deliver();
        pool_->audit->tick(now_ns_);
        break;
    }
  }

  // Everybody dies, everything is swept: the daemon is as sound as before.
  void end() {
    machine_.commits.finish();
    for (std::uint32_t k = 0; k < kHonestClients; ++k) die({0, 0, 0, k});
    pool_->orders->look_everywhere();
    pool_->orders->serve();
    pool_->leases->sweep(now_ns_);
    now_ns_ += 2'000'000'000;
    pool_->leases->sweep(now_ns_);
    pool_->memory->top_up();
    machine_.commits.finish();
    audit();
    // All who could use what was damaged have gone: the audit mends whatever there is, and then finds nothing more.
    pool_->clients.clear();
    for (int tick = 0; tick < 400 && pool_->audit->needed(); ++tick) {
      now_ns_ += 2'000'000'000;
      // A sweep believes marks: what it puts twice, the audit's next pass sees.
      if (tick < 4) pool_->leases->sweep(now_ns_);
      pool_->audit->tick(now_ns_);
    }
    require(!pool_->audit->needed(), "the audit does not come to an end");
    expect_mended();
    scrape();
    machine_.check_books(*pool_);
    machine_.check_books(*other_);
    check_neighbour();
  }

 private:
  std::uint32_t ring_of(const Step& step) const { return step.table % pool_->memory->ring_count(); }
  ClientInfo& client_of(const Step& step) {
    return pool_->clients[step.value % pool_->clients.size()];
  }
  static lib::OwnerWord owner_of(const ClientInfo& client) {
    return lib::OwnerWord::thread(client.id, client.epoch, 0);
  }

  void add_client() {
    ClientInfo client;
    client.id = next_client_++;
    client.epoch = 1;
    client.record = client.id % SmallMachine::kClients;
    client.pid = 100;
    client.name = "honest";
    pool_->clients.push_back(client);
  }

  // The part of the segment that a step names: committed, so that a client's write brings no page.
  std::pair<std::uint64_t, std::uint64_t> part(std::uint8_t table) const {
    const PoolMemory& memory = *pool_->memory;
    const lib::ControlPlan& plan = memory.plan();
    const LedgerPool& counts = machine_.ledger->pool(memory.ledger_index());
    const std::uint32_t rings = memory.ring_count();
    const std::uint32_t number = table % (9 + 2 * rings);
    switch (number) {
      case 0: return {0, plan.class_bytes_offset};
      case 1: return {plan.class_bytes_offset, plan.clients_offset - plan.class_bytes_offset};
      case 2: return {plan.clients_offset, plan.hints_offset - plan.clients_offset};
      case 3: return {plan.hints_offset, plan.threads_offset - plan.hints_offset};
      case 4:
        return {plan.threads_offset,
                std::uint64_t{counts.threads_published.load()} * plan.thread_record_bytes};
      case 5:
        return {plan.orders_offset, counts.orders_published.load() * sizeof(lib::SharedOrderCell)};
      case 6: return {plan.shares_offset, kShown * sizeof(lib::ShareCell<std::atomic>)};
      case 7: return {plan.pins_offset, kShown * sizeof(lib::PinCell<std::atomic>)};
      default: break;
    }
    if (number == 8 + 2 * rings) {
      return {plan.samples_offset, memory.published().samples * sizeof(lib::SharedSampleBlock)};
    }
    const std::uint32_t ring = (number - 8) / 2;
    const lib::RingPlan& from = plan.rings[ring];
    if (number % 2 == 0) {
      return {plan.magazines_offset + from.first_cell * sizeof(lib::SharedMagazine),
              memory.ring(ring).cell_bound() * sizeof(lib::SharedMagazine)};
    }
    return {plan.slots_offset + from.first_slot * sizeof(lib::SharedSlotWords),
            memory.ring(ring).slot_bound() * sizeof(lib::SharedSlotWords)};
  }

  template <typename Word>
  void write(const Step& step) {
    const auto [offset, bytes] = part(step.table);
    const std::uint64_t words = bytes / sizeof(Word);
    if (words == 0) return;
    std::byte* at = pool_->memory->view().base() + offset + step.index % words * sizeof(Word);
    reinterpret_cast<std::atomic<Word>*>(at)->store(static_cast<Word>(step.value));
  }

  void get(const Step& step) {
    const ClientInfo& client = client_of(step);
    lib::SharedBatchRing ring(pool_->memory->ring(ring_of(step)));
    lib::ClaimStats stats;
    const std::uint32_t cell = ring.claim_filled(0, owner_of(client), stats);
    if (cell == lib::kNone) return;
    Held held{ring_of(step), 0, {}};
    if (lib::take_slot(ring.view().cells[cell], ring.view().slots, ring.view().slot_bound(),
                       lib::Mark::holder_bits(lib::SlotState::kHeld, client.id), held.slot,
                       held.mark) == lib::TakeOutcome::kTaken) {
      held_.push_back(held);
    }
    ring.release(cell, owner_of(client), 0);
  }

  void put(const Step& step) {
    if (held_.empty()) return;
    const std::size_t which = step.index % held_.size();
    const Held held = held_[which];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    const lib::OwnerWord me = owner_of(client_of(step));
    lib::SharedBatchRing ring(pool_->memory->ring(held.ring));
    lib::ClaimStats stats;
    const std::uint32_t cell = ring.claim_with_room(me, stats);
    if (cell == lib::kNone) return;
    lib::put_slot(ring.view().cells[cell], ring.view().slots, held.slot, held.mark);
    ring.release(cell, me, 0);
  }

  void hand_off(const Step& step) {
    if (held_.empty()) return;
    const Held held = held_.back();
    held_.pop_back();
    std::uint64_t generation = 0;
    const auto note = lib::TransitNote::make(1, step.index % 2 == 0 ? 0 : client_of(step).id, 0);
    lib::begin_hand_off(pool_->memory->ring(held.ring).slots[held.slot], held.mark, note,
                        generation);
  }

  void order(const Step& step) {
    const ClientInfo& client = client_of(step);
    const LedgerPool& counts = machine_.ledger->pool(pool_->memory->ledger_index());
    const std::uint32_t number = step.index % counts.orders_published.load();
    const lib::ControlView& view = pool_->memory->view();
    lib::SharedOrderCell& cell = view.order(number);
    const auto wanted = static_cast<std::uint32_t>(1 + (step.value >> 8) % 70);
    cell.items[0].store(lib::OrderItem::make(step.table % 2, wanted).word);
    cell.item_count.store(1);
    cell.deadline_ns.store(now_ns_ + (step.value >> 16) % 1'000'000'000U);
    cell.posted_ns.store(now_ns_);
    cell.flags.store((step.table >> 4) & lib::kOrderOneNode);
    cell.arena.store((step.table >> 1) % 2);
    const std::uint32_t sequence = lib::OrderWord{cell.word.load()}.sequence() + 1;
    cell.word.store(
        lib::OrderWord::make(sequence, lib::OrderState::kPosted, client.id, client.epoch).word);
    view.order_hint_word(number).fetch_or(std::uint64_t{1} << (number % 64));
  }

  // A thread takes a record and keeps a magazine in it.
  void claim(const Step& step) {
    const ClientInfo& client = client_of(step);
    const LedgerPool& counts = machine_.ledger->pool(pool_->memory->ledger_index());
    lib::SharedThreadRecord& thread =
        pool_->memory->view().thread(step.index % counts.threads_published.load());
    thread.owner.store(owner_of(client).word);
    const std::uint32_t number = ring_of(step);
    lib::SharedBatchRing ring(pool_->memory->ring(number));
    lib::ClaimStats stats;
    const std::uint32_t cell = ring.claim_filled(1, owner_of(client), stats);
    if (cell == lib::kNone) return;
    lib::ControlView::rings_of(thread)[number].loaded.store(
        1 + pool_->memory->plan().rings[number].first_cell + cell);
  }

  void die(const Step& step) {
    const std::size_t which = step.value % pool_->clients.size();
    const ClientInfo client = pool_->clients[which];
    // Every other one did direct I/O.
    const bool direct_io = client.id % 2 == 0;
    reclaim_client(*pool_, client.id, client.epoch, client.record, direct_io);
    if (direct_io) pool_->memory->replace_quarantined();
    pool_->clients.erase(pool_->clients.begin() + static_cast<std::ptrdiff_t>(which));
    add_client();
  }

  void audit() const {
    lib::AuditReport sum;
    for (std::uint32_t r = 0; r < pool_->memory->ring_count(); ++r) {
      sum += lib::audit_ring(pool_->memory->ring(r));
    }
    require(sum.free + sum.cached + sum.held + sum.in_transit + sum.shared + sum.quarantined +
                    sum.daemon + sum.orphaned + sum.lost + sum.broken >=
                sum.slots,
            "the audit has not counted every slot");
  }

  void expect_mended() const {
    lib::AuditReport sum;
    for (std::uint32_t r = 0; r < pool_->memory->ring_count(); ++r) {
      sum += lib::audit_ring(pool_->memory->ring(r));
    }
    require(sum.lost == 0 && sum.doubled == 0 && sum.broken == 0 && sum.orphaned == 0,
            "the audit has left damage");
    require(sum.cached == 0 && sum.held == 0, "somebody who has gone holds something");
  }

  // What is said to be held for any time is never more than what there is.
  void look_at_holds() const {
    pool_->holds->tick(monotonic_ns() + HoldWatch::kTickNs);
    const PoolHolds holds = hold_ages(*pool_, {}, monotonic_ns());
    for (const HoldAges& ages : holds.ages) {
      require(ages.buffers > 0 && ages.oldest_ns >= ages.median_ns, "ages that cannot be");
    }
    std::uint64_t samples = 0;
    for (const HoldStack& stack : holds.stacks) {
      require(stack.frames.size() <= lib::kSampleFrames, "a stack that is too long");
      samples += stack.samples;
    }
    require(samples <= std::uint64_t{pool_->memory->published().samples} * lib::kBlockSamples,
            "more samples than there are");
  }

  void scrape() const {
    DaemonStatistics statistics;
    statistics.state = "running";
    statistics.pools.push_back(collect_pool_statistics(*pool_, machine_.budget));
    for (const RingStatistics& ring : statistics.pools.front().rings) {
      require(
          ring.quarantined + ring.held + ring.in_transit + ring.cached + ring.cold + ring.free ==
              ring.published,
          "the states of a ring's slots do not sum to what is published");
    }
    require(!metric_families(statistics).empty(), "a scrape without metrics");
  }

  // Nothing of this pool's damage is seen there: every slot once.
  void check_neighbour() const {
    for (std::uint32_t r = 0; r < other_->memory->ring_count(); ++r) {
      const lib::AuditReport report = lib::audit_ring(other_->memory->ring(r));
      require(report.clean(), "the pool next door is damaged");
      require(report.free == other_->memory->published_slots(r),
              "the pool next door has slots that are not free");
    }
  }

  SmallMachine& machine_;
  std::uint64_t now_ns_ = 1'000'000'000;
  std::unique_ptr<Pool> other_;
  std::unique_ptr<Pool> pool_;
  std::uint32_t next_client_ = 1;
  std::vector<Held> held_;
};

Step step_at(const std::uint8_t* bytes) {
  Step step;
  step.action = bytes[0];
  step.table = bytes[1];
  std::memcpy(&step.index, bytes + 2, sizeof(step.index));
  std::memcpy(&step.value, bytes + 4, sizeof(step.value));
  return step;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  static SmallMachine machine;
  World world(machine);
  const std::size_t steps = std::min(count / kStepBytes, kMostSteps);
  for (std::size_t i = 0; i < steps; ++i) world.take(step_at(bytes + i * kStepBytes));
  world.end();
  return 0;
}
