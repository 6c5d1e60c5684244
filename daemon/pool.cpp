#include "daemon/pool.hpp"

#include "daemon/audit_watch.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/order_desk.hpp"

namespace zeropool::daemon {

Pool::Pool() = default;
Pool::~Pool() = default;
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;

}  // namespace zeropool::daemon
