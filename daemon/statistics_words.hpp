#pragma once
// The words that metrics, status page and zeropoolctl use for what statistics.hpp numbers.
//
// Thread safety: functions of their arguments.

#include <cstdint>

#include "daemon/config.hpp"
#include "daemon/pool.hpp"
#include "daemon/pool_memory.hpp"
#include "daemon/pressure_watch.hpp"
#include "zeropool/lib/control_header.hpp"

namespace zeropool::daemon {

const char* page_size_word(PageSize size);  // as in the configuration: 1GiB, 2MiB, thp, 4KiB
const char* page_size_word(lib::PageKind kind);
const char* steal_word(StealReason reason);
const char* failure_word(std::uint32_t reason);  // of a lib::FailureReason; "other" beyond them

const char* release_word(ReleaseReason reason);
const char* pressure_word(PressureSource source);

}  // namespace zeropool::daemon
