#pragma once
// Limits and constants of layout version 1 that both sides share.

#include <cstddef>
#include <cstdint>

namespace zeropool::inline v1::lib {

inline constexpr std::uint64_t kControlMagic = 0x314c4f4f504f525aULL;  // "ZROPOOL1", little endian
inline constexpr std::uint32_t kLayoutVersion = 1;

inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kSmallPage = 4096;
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;
inline constexpr std::size_t kGiantPage = std::size_t{1} << 30;

inline constexpr std::uint32_t kMaxClasses = 32;   // classes of one pool
inline constexpr std::uint32_t kMaxArenas = 64;    // arenas of one pool
inline constexpr std::uint32_t kMaxRings = 2048;   // arenas x classes
inline constexpr std::uint32_t kMaxDomains = 256;  // cache domains of one machine
inline constexpr std::uint32_t kMaxMagazineSlots = 59;
inline constexpr std::uint32_t kMaxSpares = 6;       // spare magazines of one thread and ring
inline constexpr std::uint32_t kMaxThreads = 65535;  // thread records of one pool
inline constexpr std::uint32_t kMaxOrders = 65535;   // order cells of one pool
inline constexpr std::size_t kPoolNameBytes = 48;    // with its terminating zero
inline constexpr std::size_t kClientNameBytes = 32;  // with its terminating zero

inline constexpr std::size_t kClassGranule = 64;           // a class is a multiple of it
inline constexpr std::size_t kMaxClassBytes = kGiantPage;  // the largest class

// A client id is 20 bits; 0 names nobody and the last one names the daemon.
inline constexpr std::uint32_t kClientIdBits = 20;
inline constexpr std::uint32_t kMaxClientId = (1U << kClientIdBits) - 2;
inline constexpr std::uint32_t kDaemonClient = (1U << kClientIdBits) - 1;

inline constexpr std::uint32_t kNone = 0xffffffffU;  // "no cell", "no slot", "no ring"

}  // namespace zeropool::v1::lib
