#pragma once
// SegmentView: the control segment of the pool that is open in this process, looked at directly: an audit in
// microseconds, and whether any word still names a client.
//
// Thread safety: reads only; exact while nobody else works in the pool.

#include <cstddef>
#include <cstdint>

#include <zeropool/lib/audit.hpp>
#include <zeropool/lib/control_view.hpp>

namespace zeropool::testing {

class SegmentView {
 public:
  // Of the one pool that is open and attached. Throws where there is none, or more than one. It must stay open.
  SegmentView();

  const lib::ControlView& control() const { return control_; }
  lib::SharedRingView ring(std::uint32_t number = 0) const;
  // All rings, once each.
  lib::AuditReport audit() const;
  // Magazines that the client's owner word is in: its threads' and those granted to it.
  std::size_t magazines_of(std::uint32_t client) const;
  // Client records in use.
  std::size_t clients() const;
  // Words that name the client: magazines, thread records, order cells, share cells, its record, marks of held slots outside
  // magazines. A slot in transit may outlive its releaser and is not counted.
  std::size_t words_of(std::uint32_t client) const;

 private:
  lib::ControlView control_;
};

}  // namespace zeropool::testing
