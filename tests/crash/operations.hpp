#pragma once
// What victims are killed in: by instructions (every_instruction.cpp) and by stores (points/).

#include <array>
#include <span>
#include <utility>

#include "tests/integration/support/kill_scene.hpp"
#include "zeropool/lib/reclaim.hpp"

namespace zeropool::testing::operations {

// In the victim: whether its next put must claim.
inline bool all_its_magazines_are_full(const Victim& victim) {
  const SegmentView segment;
  const lib::SharedRingView ring = segment.ring();
  for (std::uint32_t cell = 0; cell < ring.cell_bound(); ++cell) {
    const lib::OwnerWord owner{ring.cells[cell].owner.load()};
    if (owner.in_ring() || owner.client() != victim.pool.client_id()) continue;
    if (ring.cells[cell].count.load() < kSceneMagazine) return false;
  }
  return true;
}

inline void get(Victim& v) { v.held.push_back(v.pool.get(kSceneBytes)); }
inline void put(Victim& v) { v.held.back().reset(); }

inline Operation get_that_hits() {
  return {.prepare = [](Victim& v) { v.take(2), v.put(1); }, .run = get};
}
inline Operation put_that_hits() {
  return {.prepare = [](Victim& v) { v.take(2); }, .run = put};
}
inline Operation get_that_claims() {
  return {.prepare = [](Victim& v) { v.take(kSceneMagazine); }, .run = get};
}
inline Operation get_that_claims_and_releases() {
  return {.prepare = [](Victim& v) { v.take(2 * kSceneMagazine); }, .run = get};
}
inline Operation put_that_claims_and_releases() {
  return {.prepare =
              [](Victim& v) {
                v.take(4 * kSceneMagazine);
                do {
                  v.put(1);
                } while (!all_its_magazines_are_full(v));
              },
          .run = put};
}
inline Operation release() {
  return {.prepare = [](Victim& v) { v.take(2); },
          .run = [](Victim& v) { v.handle = std::move(v.held.back()).release(); },
          .leaves_in_transit = true};
}
inline Operation release_to_itself() {
  return {
      .prepare = [](Victim& v) { v.take(2); },
      .run = [](Victim& v) { v.handle = std::move(v.held.back()).release(v.pool.client_id()); }};
}
inline Operation adopt() {
  return {.prepare = [](Victim& v) { v.take(1); },
          .run = [](Victim& v) { v.held.push_back(v.pool.adopt(v.handle)); },
          .adopts = true};
}
inline Operation share() {
  return {.prepare = [](Victim& v) { v.take(2); },
          .run = [](Victim& v) { v.shared = std::move(v.held.back()).share(); }};
}
inline void take_and_share(Victim& v) {
  v.take(2);
  v.shared = std::move(v.held.back()).share();
  expect(static_cast<bool>(v.shared), zp_last_error());
  v.held.pop_back();
}
inline Operation put_last_hold() {
  return {.prepare = take_and_share, .run = [](Victim& v) { v.shared.reset(); }};
}
inline Operation hand_share_on() {
  return {.prepare = take_and_share,
          .run = [](Victim& v) { v.handle = v.shared.handle(2); },
          .leaves_in_transit = true};
}
inline Operation unshare() {
  return {.prepare = take_and_share,
          .run = [](Victim& v) { v.held.push_back(std::move(v.shared).to_buffer()); }};
}
inline Operation adopt_shared() {
  return {.prepare = [](Victim& v) { v.take(1); },
          .run = [](Victim& v) { v.shared = v.pool.adopt_shared(v.handle); },
          .joins = true};
}
inline Operation adopt_shared_and_put() {
  return {.prepare = [](Victim& v) { v.take(1); },
          .run = [](Victim& v) { v.pool.adopt_shared(v.handle).reset(); },
          .joins = true};
}
inline Operation get_batch() {
  return {.prepare = [](Victim& v) { v.take(kSceneMagazine - 2); },
          .run = [](Victim& v) { v.pool.get_batch(kSceneBytes, std::span(v.batch).first(5)); }};
}
inline Operation get_batch_of_sizes() {
  return {.prepare = [](Victim& v) { v.take(kSceneMagazine - 2); },
          .run =
              [](Victim& v) {
                const std::array<std::size_t, 4> sizes = {kSceneBytes, 1, kSceneBytes, 4096};
                zp_buffer raw[4];
                zp_get_batch(v.pool.c_pool(), sizes.data(), sizes.size(), raw);
              }};
}
inline Operation put_batch() {
  return {.prepare =
              [](Victim& v) {
                v.take(kSceneMagazine - 3);
                v.pool.get_batch(kSceneBytes, std::span(v.batch).first(6));
                v.put(kSceneMagazine - 3);
              },
          .run = [](Victim& v) { v.pool.put_batch(v.batch); }};
}

// The daemon's steps for a dead client, done by the victim to itself: cached, held and released slots. What a kill leaves
// is a reclaim that was broken off, and the daemon's own comes next.
inline Operation reclaim() {
  struct Target {
    lib::SharedRingView ring;
    std::uint32_t client = 0;
    std::uint32_t epoch = 0;
  };
  static Target target;  // the victim's
  return {.prepare =
              [](Victim& v) {
                v.take(kSceneMagazine + 4), v.put(3);
                v.handle = std::move(v.held.back()).release(v.pool.client_id());
                const SegmentView segment;
                target = {segment.ring(), v.pool.client_id(), 0};
                for (std::uint32_t n = 0; n < segment.control().header().client_capacity; ++n) {
                  const lib::OwnerWord owner{segment.control().client(n).owner.load()};
                  if (!owner.in_ring() && owner.client() == target.client)
                    target.epoch = owner.epoch();
                }
              },
          .run =
              [](Victim&) {
                lib::Reclaimer<std::atomic>(target.ring, target.client, target.epoch).run();
              },
          .reclaims = true};
}

}  // namespace zeropool::testing::operations
