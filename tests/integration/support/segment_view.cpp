#include "segment_view.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace zeropool::testing {
namespace {

// Address and bytes of the control segments in this address space.
std::vector<std::pair<std::uintptr_t, std::uint64_t>> control_segments() {
  std::vector<std::pair<std::uintptr_t, std::uint64_t>> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:") == std::string::npos) continue;
    if (line.find("-control") == std::string::npos) continue;
    std::istringstream text(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    text >> std::hex >> begin >> dash >> end;
    // A mapping may be shown in parts that follow each other.
    if (!found.empty() && found.back().first + found.back().second == begin) {
      found.back().second += end - begin;
    } else {
      found.emplace_back(begin, end - begin);
    }
  }
  return found;
}

bool names(std::uint64_t owner_word, std::uint32_t client) {
  const lib::OwnerWord owner{owner_word};
  return !owner.in_ring() && owner.client() == client;
}

}  // namespace

SegmentView::SegmentView() {
  const auto found = control_segments();
  if (found.size() != 1) {
    throw std::runtime_error(std::to_string(found.size()) + " control segments are mapped, not 1");
  }
  auto* segment = reinterpret_cast<void*>(found[0].first);
  const std::string why = lib::check_control_segment(segment, found[0].second);
  if (!why.empty()) throw std::runtime_error(why);
  control_ = lib::ControlView(segment);
}

lib::SharedRingView SegmentView::ring(std::uint32_t number) const {
  return control_.ring(control_.descriptor(number));
}

lib::AuditReport SegmentView::audit() const {
  lib::AuditReport sum;
  for (std::uint32_t r = 0; r < control_.header().ring_count; ++r) sum += lib::audit_ring(ring(r));
  return sum;
}

std::size_t SegmentView::magazines_of(std::uint32_t client) const {
  std::size_t count = 0;
  for (std::uint32_t r = 0; r < control_.header().ring_count; ++r) {
    const lib::SharedRingView view = ring(r);
    for (std::uint32_t cell = 0; cell < view.cell_bound(); ++cell) {
      if (names(view.cells[cell].owner.load(), client)) ++count;
    }
  }
  return count;
}

std::size_t SegmentView::clients() const {
  std::size_t count = 0;
  for (std::uint32_t n = 0; n < control_.header().client_capacity; ++n) {
    if (control_.client(n).owner.load() != 0) ++count;
  }
  return count;
}

std::size_t SegmentView::words_of(std::uint32_t client) const {
  const lib::ControlHeader& header = control_.header();
  std::size_t count = magazines_of(client);
  const std::uint32_t threads = std::min(header.threads_published.load(), header.thread_capacity);
  for (std::uint32_t n = 0; n < threads; ++n) {
    if (names(control_.thread(n).owner.load(), client)) ++count;
  }
  const std::uint32_t orders = std::min(header.orders_published.load(), header.order_capacity);
  for (std::uint32_t n = 0; n < orders; ++n) {
    const lib::OrderWord word{control_.order(n).word.load()};
    if (word.state() != lib::OrderState::kFree && word.client() == client) ++count;
  }
  const std::uint32_t shares = std::min(header.shares_published.load(), header.share_capacity);
  for (std::uint32_t n = 0; n < shares; ++n) {
    const lib::SharedShareCell& cell = control_.share(n);
    if (lib::ShareWord{cell.state.load()}.client() == client) ++count;
    for (const auto& holder : cell.holders) {
      const lib::HoldWord hold{holder.load()};
      if (hold.word != 0 && hold.client() == client) ++count;
    }
  }
  for (std::uint32_t n = 0; n < header.client_capacity; ++n) {
    if (names(control_.client(n).owner.load(), client)) ++count;
  }
  for (std::uint32_t r = 0; r < header.ring_count; ++r) {
    const lib::SharedRingView view = ring(r);
    for (std::uint32_t slot = 0; slot < view.slot_bound(); ++slot) {
      if (lib::Mark{view.slots[slot].mark.load()}.is(lib::SlotState::kHeld, client)) ++count;
    }
  }
  return count;
}

}  // namespace zeropool::testing
