// The desk: who is served when, what a quota refuses, and that nothing is left behind.

#include "daemon/order_desk.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/audit_watch.hpp"
#include "daemon/lease_watch.hpp"
#include "tests/unit/support/memory_machine.hpp"

namespace lib = zeropool::lib;
using namespace zeropool::test;
using lib::ErrorCode;
using lib::OrderState;
using lib::OrderWord;

namespace {

constexpr std::uint64_t kClass = 65536;
constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kLong = 3'600'000 * kMillisecond;

struct Slot {
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  lib::Mark mark;
};

// A pool with a desk, and clients whose steps the test makes itself, by the library's own.
struct Desk {
  explicit Desk(std::uint64_t budget_mib, std::uint64_t quota_bytes = 0,
                std::vector<std::uint64_t> classes = {kClass}, std::uint32_t orders = 10000)
      : machine(budget_mib << 20) {
    pool.config.name = "desk";
    pool.config.classes = std::move(classes);
    pool.config.wait.orders = orders;
    if (quota_bytes != 0) pool.config.client_quota_bytes = quota_bytes;
    std::string why;
    pool.memory = machine.pool(pool.config, why);
    REQUIRE_MESSAGE(pool.memory, why);
    pool.memory->header().client_quota_bytes.store(quota_bytes);
    pool.orders = std::make_unique<OrderDesk>(
        pool, OrderDeskHooks{[this] { return now_ns; }, [](std::uint32_t) { return -1; }, {}});
    for (std::uint32_t id = 1; id <= 3; ++id) {
      ClientInfo client;
      client.id = id;
      client.epoch = 1;
      client.record = id;
      pool.clients.push_back(client);
    }
    while (published() < orders) {
      const std::uint32_t before = published();
      pool.memory->header().orders_wanted.store(1);
      pool.memory->top_up();
      machine.commits.finish();
      if (published() == before) break;
    }
  }

  std::uint32_t published() const { return pool.memory->published().orders; }
  lib::SharedOrderCell& cell(std::uint32_t number) const {
    return pool.memory->view().order(number);
  }
  OrderWord word(std::uint32_t number) const { return OrderWord{cell(number).word.load()}; }
  OrderState state(std::uint32_t number) const { return word(number).state(); }
  ErrorCode reason(std::uint32_t number) const {
    return lib::OrderReason{cell(number).refusal.load()}.code_for(word(number));
  }
  std::atomic<std::uint64_t>& charged(std::uint32_t client) const {
    return pool.memory->view().client(client).charged_bytes;
  }

  void post(std::uint32_t number, std::uint32_t client, std::uint32_t count, std::uint32_t cls = 0,
            std::uint64_t wait_ns = kLong, std::uint32_t flags = 0) {
    post_items(number, client, {lib::OrderItem::make(cls, count)}, wait_ns, flags);
  }
  void post_items(std::uint32_t number, std::uint32_t client, std::vector<lib::OrderItem> items,
                  std::uint64_t wait_ns = kLong, std::uint32_t flags = 0) {
    lib::SharedOrderCell& order = cell(number);
    for (std::size_t i = 0; i < items.size(); ++i) order.items[i].store(items[i].word);
    order.item_count.store(static_cast<std::uint32_t>(items.size()));
    order.deadline_ns.store(now_ns + wait_ns);
    order.posted_ns.store(++now_ns);
    order.flags.store(flags);
    order.arena.store(0);
    order.refusal.store(0);
    const OrderWord free = word(number);
    REQUIRE(free.state() == OrderState::kFree);
    order.word.store(OrderWord::make(free.sequence() + 1, OrderState::kPosted, client, 1).word);
    pool.memory->view().order_hint_word(number).fetch_or(std::uint64_t{1} << (number % 64));
  }
  void serve(std::uint64_t after_ns = kMillisecond) {
    now_ns += after_ns;
    pool.orders->look();
    pool.orders->serve();
    machine.commits.finish();
    pool.orders->serve();
  }
  void free_cell(std::uint32_t number) { cell(number).word.store(word(number).freed().word); }
  bool cancel(std::uint32_t number) {
    std::uint64_t posted = word(number).word;
    return cell(number).word.compare_exchange_strong(posted, OrderWord{posted}.freed().word);
  }
  // Takes all slots of a granted order for its client, and frees the cell.
  std::vector<Slot> accept(std::uint32_t number) {
    const OrderWord granted = word(number);
    REQUIRE(granted.state() == OrderState::kGranted);
    std::vector<Slot> slots;
    std::uint32_t link = cell(number).first_granted.load();
    while (link != 0) {
      std::uint32_t next = 0;
      for (std::uint32_t r = 0; r < pool.memory->ring_count(); ++r) {
        const std::uint32_t at = link - 1 - pool.memory->plan().rings[r].first_cell;
        const lib::SharedRingView ring = pool.memory->ring(r);
        if (at >= ring.cell_bound()) continue;
        next = ring.cells[at].count.link();
        ring.cells[at].count.set_link(0);
        take_all(r, at, granted.client(), slots);
      }
      link = next;
    }
    free_cell(number);
    return slots;
  }
  void put(const Slot& slot) {
    lib::SharedBatchRing ring(pool.memory->ring(slot.ring));
    const auto me = lib::OwnerWord::thread(slot.mark.client(), 1, 0);
    lib::ClaimStats stats;
    const std::uint32_t at = ring.claim_with_room(me, stats);
    REQUIRE(at != lib::kNone);
    REQUIRE(lib::put_slot(ring.view().cells[at], ring.view().slots, slot.slot, slot.mark));
    ring.release(at, me, 0);
    charged(slot.mark.client()).fetch_sub(pool.memory->plan().rings[slot.ring].class_bytes);
  }
  // All that this class can have, held by that client.
  std::vector<Slot> take_everything(std::uint32_t client, std::uint32_t cls = 0) {
    std::vector<Slot> held;
    for (;;) {
      post(0, client, 1, cls);
      for (int i = 0; i < 5 && state(0) == OrderState::kPosted; ++i) serve(10 * kMillisecond);
      if (state(0) != OrderState::kGranted) break;
      for (const Slot& slot : accept(0)) held.push_back(slot);
    }
    REQUIRE(cancel(0));
    serve();
    CHECK(pool.orders->waiting() == 0);
    return held;
  }
  void check_nothing_left() {
    pool.orders->serve();
    CHECK(pool.orders->waiting() == 0);
    for (std::uint32_t n = 0; n < published(); ++n) {
      if (state(n) != OrderState::kFree) FAIL_CHECK("cell " << n << " is not free");
    }
    for (std::uint32_t r = 0; r < pool.memory->ring_count(); ++r) {
      CHECK(lib::audit_ring(pool.memory->ring(r)).clean());
      CHECK(pool.memory->view().descriptor(r).queue_until_ns.load() == 0);
    }
  }

  Machine machine;
  Pool pool;
  std::uint64_t now_ns = 1'000'000'000;

 private:
  void take_all(std::uint32_t r, std::uint32_t at, std::uint32_t client,
                std::vector<Slot>& slots) const {
    const lib::SharedRingView ring = pool.memory->ring(r);
    const auto bits = lib::Mark::holder_bits(lib::SlotState::kHeld, client);
    Slot slot{r, 0, {}};
    while (lib::take_slot(ring.cells[at], ring.slots, ring.slot_bound(), bits, slot.slot,
                          slot.mark) == lib::TakeOutcome::kTaken) {
      slots.push_back(slot);
    }
    ring.cells[at].owner.store(0);
    lib::SharedBatchRing(ring).hint(at, 0, 0);
  }
};

}  // namespace

TEST_CASE("orders are granted in the order in which they were posted, wherever their cells lie") {
  Desk desk(16);
  std::vector<Slot> held = desk.take_everything(1);
  REQUIRE(held.size() > 20);
  const std::vector<std::uint32_t> cells = {70, 3, 200, 5, 130, 64, 1};
  for (const std::uint32_t cell : cells) desk.post(cell, 2, 1);
  desk.serve();
  CHECK(desk.pool.orders->waiting() == cells.size());
  std::vector<Slot> granted;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    desk.put(held.back());
    held.pop_back();
    desk.serve();
    for (std::size_t j = 0; j < cells.size(); ++j) {
      CHECK(desk.state(cells[j]) == (j <= i ? OrderState::kGranted : OrderState::kPosted));
    }
  }
  for (const std::uint32_t cell : cells) {
    for (const Slot& slot : desk.accept(cell)) granted.push_back(slot);
  }
  CHECK(granted.size() == cells.size());
  for (const Slot& slot : granted) desk.put(slot);
  for (const Slot& slot : held) desk.put(slot);
  desk.check_nothing_left();
  CHECK(desk.charged(1).load() == 0);
  CHECK(desk.charged(2).load() == 0);
}

TEST_CASE("a big order is not starved by small ones that come after it") {
  Desk desk(16);
  std::vector<Slot> held = desk.take_everything(1);
  REQUIRE(held.size() > 40);
  desk.post(9, 2, 32);
  desk.serve();
  std::uint32_t small = 10;
  for (int i = 0; i < 31; ++i) {
    desk.put(held.back());
    held.pop_back();
    desk.post(small++, 3, 1);
    desk.serve();
    CHECK(desk.state(9) == OrderState::kPosted);
  }
  for (std::uint32_t n = 10; n < small; ++n) CHECK(desk.state(n) == OrderState::kPosted);
  // Gets that would claim what gathers for it are told to order.
  CHECK(desk.pool.memory->view().descriptor(0).queue_until_ns.load() > desk.now_ns);
  desk.put(held.back());
  held.pop_back();
  desk.serve();
  CHECK(desk.accept(9).size() == 32);
  for (std::uint32_t n = 10; n < small; ++n) CHECK(desk.cancel(n));
  desk.serve();
  desk.check_nothing_left();
}

TEST_CASE("an order of two classes holds up what wants one of them, and nothing else") {
  Desk desk(16, 0, {4096, 65536, 262144});
  desk.post(1, 1, 1, 0);
  desk.serve();
  std::vector<Slot> small = desk.accept(1);
  desk.take_everything(1, 1);
  desk.take_everything(1, 0);
  desk.post_items(5, 2, {lib::OrderItem::make(0, 1), lib::OrderItem::make(1, 1)});
  desk.serve();
  desk.post(6, 3, 1, 0);
  desk.put(small.back());
  desk.serve();
  CHECK(desk.state(5) == OrderState::kPosted);
  CHECK(desk.state(6) == OrderState::kPosted);  // the slot is there, the other was first
  CHECK(desk.cancel(5));
  desk.serve();
  CHECK(desk.state(6) == OrderState::kGranted);
  desk.accept(6);
  desk.check_nothing_left();
}

TEST_CASE(
    "orders that are cancelled, or over, leave neither cell nor slot nor place in the queue") {
  Desk desk(16);
  desk.take_everything(1);
  for (std::uint32_t n = 1; n <= 100; ++n) desk.post(n, 2, 1, 0, n * 10 * kMillisecond);
  desk.serve();
  CHECK(desk.pool.orders->waiting() == 100);
  for (std::uint32_t n = 1; n <= 100; n += 2) CHECK(desk.cancel(n));
  // The same cells again: the cancelled ones are forgotten for the new.
  for (std::uint32_t n = 1; n <= 100; n += 2) desk.post(n, 3, 1, 0, 2000 * kMillisecond);
  desk.serve();
  CHECK(desk.pool.orders->waiting() == 100);
  desk.serve(1200 * kMillisecond);
  CHECK(desk.pool.orders->waiting() == 50);
  for (std::uint32_t n = 2; n <= 100; n += 2) {
    CHECK(desk.state(n) == OrderState::kRefused);
    CHECK(desk.reason(n) == ErrorCode::budget_exhausted);
    desk.free_cell(n);
  }
  desk.serve(1200 * kMillisecond);
  for (std::uint32_t n = 1; n <= 100; n += 2) {
    CHECK(desk.state(n) == OrderState::kRefused);
    desk.free_cell(n);
  }
  desk.check_nothing_left();
}

TEST_CASE("ten thousand wait, and to serve one of them takes no longer than to serve one of ten") {
  Desk desk(64);
  std::vector<Slot> held = desk.take_everything(1);
  REQUIRE(desk.published() >= 10000);
  for (std::uint32_t n = 0; n < 10000; ++n) desk.post(n, 1 + n % 3, 1);
  desk.serve();
  CHECK(desk.pool.orders->waiting() == 10000);
  const auto begun = std::chrono::steady_clock::now();
  std::uint32_t next = 0;
  for (; next < 200; ++next) {
    desk.put(held.back());
    held.pop_back();
    desk.now_ns += kMillisecond;
    desk.pool.orders->serve();
    REQUIRE(desk.state(next) == OrderState::kGranted);
    for (const Slot& slot : desk.accept(next)) held.push_back(slot);
  }
  const auto took = std::chrono::steady_clock::now() - begun;
  const auto each = std::chrono::duration_cast<std::chrono::microseconds>(took).count() / 200;
  MESSAGE("one serve with 10,000 orders waiting: " << each << " us");
  CHECK(each < 500);  // a look at all of them takes longer
  for (; next < 10000; ++next) CHECK(desk.cancel(next));
  desk.now_ns += 2 * kLong;  // all deadlines have passed
  desk.serve();
  desk.check_nothing_left();
}

TEST_CASE("an order that does not fit its client's quota is refused, and holds nobody up") {
  Desk desk(16, 16 * kClass);
  desk.post(1, 1, 16);
  desk.serve();
  std::vector<Slot> held = desk.accept(1);
  CHECK(desk.charged(1).load() == 16 * kClass);
  desk.post(2, 1, 1);
  desk.post(3, 2, 1);
  desk.serve(50 * kMillisecond);  // time for a count
  CHECK(desk.state(3) == OrderState::kGranted);
  CHECK(desk.state(2) == OrderState::kRefused);  // it caches nothing that could be given back
  CHECK(desk.reason(2) == ErrorCode::quota_exceeded);
  desk.free_cell(2);
  desk.accept(3);
  desk.put(held.back());
  held.pop_back();
  desk.post(2, 1, 1);
  desk.serve(200 * kMillisecond);
  CHECK(desk.state(2) == OrderState::kGranted);
  desk.accept(2);
  desk.post(4, 2, 17);  // more than any client may have
  desk.serve();
  CHECK(desk.reason(4) == ErrorCode::quota_exceeded);
  desk.free_cell(4);
  desk.check_nothing_left();
}

TEST_CASE("a client that says it has nothing is granted no more than its quota") {
  Desk desk(16, 16 * kClass);
  std::uint32_t granted = 0;
  for (std::uint32_t n = 1; n <= 40; ++n) {
    desk.post(n, 1, 1);
    for (int i = 0; i < 5 && desk.state(n) == OrderState::kPosted; ++i) {
      desk.charged(1).store(0);  // the lie
      desk.serve(30 * kMillisecond);
    }
    if (desk.state(n) == OrderState::kGranted) {
      ++granted;
      desk.accept(n);
    } else {
      CHECK(desk.reason(n) == ErrorCode::quota_exceeded);
      desk.free_cell(n);
    }
  }
  CHECK(granted == 16);
  desk.check_nothing_left();
}

TEST_CASE("a client's own caches have a moment to make room, then its order is refused") {
  Desk desk(16, 16 * kClass);
  desk.post(1, 1, 16);
  desk.serve();
  std::vector<Slot> held = desk.accept(1);
  // Four of them into a magazine of its thread.
  lib::SharedThreadRecord& thread = desk.pool.memory->view().thread(0);
  const auto me = lib::OwnerWord::thread(1, 1, 0);
  thread.owner.store(me.word);
  lib::SharedRingRecord& record = lib::ControlView::rings_of(thread)[0];
  record.limit.store(8);
  lib::SharedBatchRing ring(desk.pool.memory->ring(0));
  lib::ClaimStats stats;
  const std::uint32_t at = ring.claim_empty(me, stats);
  for (int i = 0; i < 4; ++i) {
    REQUIRE(lib::put_slot(ring.view().cells[at], ring.view().slots, held.back().slot,
                          held.back().mark));
    held.pop_back();
  }
  const auto wait_for = [&](std::uint32_t cell, std::uint32_t flags) {
    desk.post(cell, 1, 1, 0, kLong, flags);
    desk.post(cell + 1, 2, 1);
    desk.serve();
    CHECK(desk.state(cell) == OrderState::kPosted);
    CHECK(desk.state(cell + 1) == OrderState::kGranted);  // it holds nobody up
    desk.accept(cell + 1);
    CHECK(record.limit.load() == 0);  // the thread's next put goes back at once
  };
  SUBCASE("it comes") {
    wait_for(2, 0);
    ring.release(at, me, 0);
    desk.charged(1).fetch_sub(4 * kClass);
    desk.serve(20 * kMillisecond);
    CHECK(desk.state(2) == OrderState::kGranted);
    desk.accept(2);
    CHECK(record.limit.load() != 0);
  }
  SUBCASE("it comes, for who wants the room only") {
    wait_for(2, lib::kOrderRoom);
    ring.release(at, me, 0);
    desk.charged(1).fetch_sub(4 * kClass);
    desk.serve(20 * kMillisecond);
    CHECK(desk.state(2) == OrderState::kRefused);
    CHECK(desk.reason(2) == ErrorCode::ok);
    desk.free_cell(2);
  }
  SUBCASE("it does not come") {
    wait_for(2, 0);
    desk.serve(200 * kMillisecond);
    CHECK(desk.state(2) == OrderState::kRefused);
    CHECK(desk.reason(2) == ErrorCode::quota_exceeded);
    CHECK(record.limit.load() != 0);
    desk.free_cell(2);
    ring.release(at, me, 0);
  }
  thread.owner.store(0);
  desk.check_nothing_left();
}

TEST_CASE("a charge that is wrong, and stays so, is corrected by the second count") {
  Desk desk(16, 16 * kClass);
  desk.post(1, 1, 8);
  desk.serve();
  desk.accept(1);
  desk.charged(1).store(16 * kClass);  // a daemon was killed between a charge and its grant
  desk.post(2, 1, 1);
  for (int i = 0; i < 8 && desk.state(2) == OrderState::kPosted; ++i) {
    desk.serve(10 * kMillisecond);
  }
  CHECK(desk.state(2) == OrderState::kGranted);
  CHECK(desk.pool.orders->quota().corrections() == 1);
  desk.accept(2);
  CHECK(desk.charged(1).load() == 9 * kClass);
  desk.check_nothing_left();
}
