// What each key may be at most and at least, and why.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <sys/un.h>

#include "daemon/config_units.hpp"

namespace zeropool::daemon {

inline constexpr std::uint64_t kMinMemoryBytes = kMiB;
// Half of a process's address space on x86-64: arenas are mapped at full size by each client.
inline constexpr std::uint64_t kMaxMemoryBytes = kTiB * 64;
inline constexpr std::uint64_t kMinClientQuotaBytes = kKiB * 4;

inline constexpr std::size_t kMaxPools = 64;
inline constexpr std::size_t kMaxPoolNameBytes = 48;

inline constexpr std::size_t kMaxClasses = 32;
inline constexpr std::uint64_t kClassGranuleBytes = 64;  // a cache line
inline constexpr std::uint64_t kMinClassBytes = 64;
inline constexpr std::uint64_t kMaxClassBytes = kGiB;
// Neighbours nearer than this part of their size are one class for every practical purpose.
inline constexpr std::uint64_t kClassResolution = 512;

inline constexpr std::uint64_t kMaxThreadCacheBytes = kGiB;
inline constexpr std::uint64_t kMaxHotSetBytes = kTiB;

inline constexpr std::uint32_t kMaxOrders = 65'535;
inline constexpr std::uint32_t kMaxClients = 65'535;
inline constexpr std::uint32_t kMaxThreads = 65'535;
inline constexpr std::uint32_t kMaxPendingAttaches = 65'535;
inline constexpr std::uint32_t kMaxNode = 1'023;  // MAX_NUMNODES of every distribution's kernel

inline constexpr std::chrono::nanoseconds kMinCacheIdle = std::chrono::seconds(1);
inline constexpr std::chrono::nanoseconds kMaxCacheIdle = std::chrono::hours(24);
inline constexpr std::chrono::nanoseconds kMaxWait = std::chrono::hours(1);
// A longer window would never pass, a slower rate never get anywhere.
inline constexpr std::chrono::nanoseconds kMaxReleaseWindow = std::chrono::hours(24);
inline constexpr std::uint64_t kMinReleaseRateBytes = kMiB;
inline constexpr std::chrono::nanoseconds kMinLease = std::chrono::milliseconds(100);
inline constexpr std::chrono::nanoseconds kMaxLease = std::chrono::hours(24);

inline constexpr std::size_t kMaxSocketPathBytes = sizeof(sockaddr_un{}.sun_path) - 1;
inline constexpr std::size_t kMaxPathBytes = 4095;
inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxAccessNames = 1024;
inline constexpr std::size_t kMaxListenAddresses = 16;
inline constexpr std::uint32_t kMaxTopClients = 100;

}  // namespace zeropool::daemon
