#pragma once
// Whether a client lives: known from the kernel, by a pidfd, never from a timer.
//
// Thread safety: functions without state.

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

#include "daemon/access.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

// A pidfd of the peer: the kernel's own (SO_PEERPIDFD), else one among `sent` that is really of that process,
// else by its pid when that process is older than the connection. Empty: `why` says what to do.
lib::UniqueFd peer_pidfd(int socket, const Peer& peer, std::vector<lib::UniqueFd>& sent,
                         std::uint64_t connected_ns, std::string& why);

// A pidfd that the peer sent along of itself, having been handed a connection that another process made; `pid` is
// its process. Nothing is gained by sending another's: it decides when the sender's own slots come back.
lib::UniqueFd sent_pidfd(std::vector<lib::UniqueFd>& sent, pid_t& pid, std::string& why);

// Of a process of that pid now; empty: there is none.
lib::UniqueFd open_pidfd(pid_t pid);

// Whether the process of a pidfd has ended.
bool has_ended(int pidfd) noexcept;

// The process that a descriptor is a pidfd of: its pid here, 0 not visible here, -1 ended or not a pidfd.
pid_t process_of_pidfd(int fd);

// Of a process that lives or has ended, whoever's.
bool is_pidfd(int fd);

// Whether it is stopped, by a signal or a debugger. One that cannot be seen (another pid namespace) is not.
bool is_stopped(pid_t pid);

// Field 22 of /proc/PID/stat, in nanoseconds since boot; 0: cannot be told.
std::uint64_t process_start_ns(pid_t pid);

enum class MappingSeen { kPresent, kAbsent, kUnreadable };
// Whether a process has a file mapped, by /proc/PID/maps. An inode's number alone may be another file's as well.
MappingSeen look_for_mapping(pid_t pid, dev_t device, std::uint64_t inode);

}  // namespace zeropool::daemon
