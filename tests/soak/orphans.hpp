#pragma once
// The children of children that were killed: they come to the director (PR_SET_CHILD_SUBREAPER), who buries them.
//
// Thread safety: the main thread's, which must be the one that started the others.

#include <functional>
#include <sys/types.h>

namespace zeropool::soak {

// From now on orphans come to this process.
void adopt_orphans();
// Waits for those that have ended. `known`: children that somebody else waits for.
void bury_orphans(const std::function<bool(pid_t)>& known);
// When there are no other children any more: kills the rest and waits for them.
void end_orphans();

}  // namespace zeropool::soak
