#include "daemon/http_connections.hpp"

#include <sys/socket.h>

namespace zeropool::daemon {

void HttpConnections::drop(Connection& connection) {
  if (connection.dropped) return;
  connection.dropped = true;
  ::shutdown(connection.fd, SHUT_RDWR);
}

void HttpConnections::opened(int fd, Clock::time_point now) {
  closed(fd);
  by_age_.push_back({fd, now, false});
  places_[fd] = std::prev(by_age_.end());
  std::size_t over = by_age_.size() > most_ ? by_age_.size() - most_ : 0;
  for (Connection& connection : by_age_) {
    const bool late = now - connection.since >= patience_;  // H1
    if (!late && over == 0) break;
    drop(connection);  // H2
    if (over > 0) --over;
  }
}

void HttpConnections::answered(int fd, Clock::time_point now) {
  const auto found = places_.find(fd);
  if (found == places_.end()) return;
  found->second->since = now;
  by_age_.splice(by_age_.end(), by_age_, found->second);
}

void HttpConnections::closed(int fd) {
  const auto found = places_.find(fd);
  if (found == places_.end()) return;
  by_age_.erase(found->second);
  places_.erase(found);
}

}  // namespace zeropool::daemon
