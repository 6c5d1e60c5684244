#include "daemon/pool.hpp"

#include "daemon/audit_watch.hpp"
#include "daemon/counter_floor.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/order_desk.hpp"

namespace zeropool::daemon {

Pool::Pool() : floor(std::make_unique<CounterFloor>()) {}
Pool::~Pool() = default;
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;

}  // namespace zeropool::daemon
