#pragma once
// KillScene: a daemon, a survivor that takes all it can have, a worker that never stops, and what must hold when the
// victim between them has been killed.
//
// Thread safety: one thread's.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "child_process.hpp"
#include "daemon_process.hpp"
#include "segment_view.hpp"
#include "survivor.hpp"

namespace zeropool::testing {

constexpr std::size_t kSceneBytes = 64 * 1024;
constexpr std::size_t kSceneMagazine = 16;  // slots: 1 MiB / 64 KiB
constexpr std::size_t kSceneBystanders =
    2;  // the victim's buffers that the operation does not touch

// The victim: its pool, and what it holds.
struct Victim {
  Pool pool;
  std::vector<Buffer> held;
  std::array<Buffer, kSceneBystanders> bystanders;
  std::array<Buffer, kSceneMagazine> batch;
  SharedBuffer shared;
  Handle handle;
  std::function<Pool()> open;

  // Inline, as all that a victim does: then it is compiled as the test is.
  void take(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      held.push_back(pool.get(kSceneBytes));
      expect(static_cast<bool>(held.back()), zp_last_error());
    }
  }
  void put(std::size_t count) { held.resize(held.size() - count); }
};

// What is done to a victim.
struct Operation {
  std::function<void(Victim&)> prepare;
  std::function<void(Victim&)> run;
  bool leaves_in_transit = false;  // a slot of it may be on its way until the lease is over
  bool adopts = false;             // it is given a handle
  bool joins = false;              // it is given a handle of a shared buffer
  bool attaches = false;           // the victim comes without a pool
  bool reclaims =
      false;  // it gives back all that names it, as the daemon would: its bystanders, too
  // Done by the survivor, again and again, while the victim runs.
  std::function<void(Survivor&, const SegmentView&)> meanwhile = nullptr;
  // Done by the survivor before each victim comes.
  std::function<void(Survivor&, const DaemonProcess&)> before = nullptr;
};

// A Buffer is laid out as a zp_buffer.
std::uint32_t slot_of(const Buffer& buffer);

class KillScene {
 public:
  enum class Worker { kNone, kOne };

  KillScene(const Operation& operation, Worker worker);
  ~KillScene();
  KillScene(const KillScene&) = delete;
  KillScene& operator=(const KillScene&) = delete;

  const Operation& operation() const { return operation_; }
  DaemonProcess& daemon() { return daemon_; }
  Survivor& survivor() { return survivor_; }
  const SegmentView& segment() const { return *segment_; }
  std::uint32_t victim_client() const;
  std::string text() const;  // the audit in words

  // Before the victim is forked.
  void set_up();
  // In the victim: up to the operation.
  void enter(Victim& victim);
  // The victim stands somewhere in the operation, as if for ever.
  void check_standing(const std::string& where);
  // The victim is dead.
  void check_dead(const std::string& where);
  bool wait_until_gone();
  // zeropoolctl audit says the same.
  void compare_with_ctl();
  // All has been given back, and all is free.
  void check_end();

  // Empty: nothing was lost, doubled, or in two hands. Else the first that was.
  const std::string& finding() const { return finding_; }
  // What the worker did from set_up() to check_dead(), the least and the sum over all victims.
  std::uint64_t least_progress() const { return least_progress_; }
  std::uint64_t progress() const { return progress_; }

 private:
  struct Shared;

  Pool open() const;
  void find(const std::string& where, const std::string& what);
  bool bystanders_intact() const;
  void start_worker();
  void pause_worker();
  std::size_t others() const;

  const Operation& operation_;
  DaemonProcess daemon_;
  Shared* shared_ = nullptr;
  std::unique_ptr<ChildProcess> worker_;
  Survivor survivor_;
  std::optional<SegmentView> segment_;
  Buffer first_;
  std::string finding_;
  std::uint64_t worked_before_ = 0;
  std::uint64_t least_progress_ = ~std::uint64_t{0};
  std::uint64_t progress_ = 0;
};

}  // namespace zeropool::testing
