#pragma once
// A planned upgrade: the daemon that runs is asked to make room, and has when its lock is free.
//
// Thread safety: a function without state; blocks up to 15 s.

#include <string>

namespace zeropool::daemon {

// Empty: there is room now (also when nobody ran). Else why not, and what to do.
std::string ask_to_make_room(const std::string& socket_path);

}  // namespace zeropool::daemon
