// The runtime that instrumented code calls: the names and signatures are those of a thread sanitizer's. Every memory
// order is the strongest; what is tested is what a kill leaves, not what races do.
//
// Itself not instrumented. Nothing here allocates, locks, or throws: it runs inside any store.

#include "crash_points.hpp"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace zeropool::testing {
namespace {

constexpr int kOrder = __ATOMIC_SEQ_CST;

CrashPoints* the_points = nullptr;

// Shared writable mappings, as they were when counting began in this process.
struct Range {
  std::uintptr_t begin;
  std::uintptr_t end;
};
constexpr int kMostRanges = 64;
Range the_ranges[kMostRanges];
int the_range_count = 0;
std::uint64_t the_ranges_for = 0;  // the arming that they were looked up for

std::uintptr_t read_hex(const char*& at) {
  std::uintptr_t value = 0;
  for (;; ++at) {
    const char c = *at;
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<std::uintptr_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value * 16 + static_cast<std::uintptr_t>(c - 'a' + 10);
    } else {
      return value;
    }
  }
}

// A line of /proc/self/maps: "begin-end rw-s ..."
void note_range(const char* line) {
  Range range{};
  range.begin = read_hex(line);
  ++line;
  range.end = read_hex(line);
  if (std::strncmp(line, " rw-s", 5) == 0 && the_range_count < kMostRanges) {
    the_ranges[the_range_count++] = range;
  }
}

void look_up_ranges() {
  the_range_count = 0;
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char line[256];
  std::size_t length = 0;
  char chunk[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, chunk, sizeof(chunk))) > 0) {
    for (ssize_t i = 0; i < got; ++i) {
      if (chunk[i] == '\n') {
        line[length] = 0;
        note_range(line);
        length = 0;
      } else if (length + 1 < sizeof(line)) {
        line[length++] = chunk[i];
      }
    }
  }
  ::close(fd);
}

bool is_shared(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (int i = 0; i < the_range_count; ++i) {
    if (at >= the_ranges[i].begin && at < the_ranges[i].end) return true;
  }
  return false;
}

void pass(CrashPoints& points, std::uint64_t kill_at) {
  if (__atomic_add_fetch(&points.seen, 1, kOrder) != kill_at) return;
  for (;;) ::kill(::getpid(), SIGKILL);
}

// Before an atomic store.
void atomic_point() {
  CrashPoints* points = the_points;
  if (points == nullptr) return;
  const std::uint64_t kill_at = __atomic_load_n(&points->kill_at, kOrder);
  if (kill_at != 0) pass(*points, kill_at);
}

// Before a plain one.
void plain_point(const void* address) {
  CrashPoints* points = the_points;
  if (points == nullptr) return;
  const std::uint64_t kill_at = __atomic_load_n(&points->kill_at, kOrder);
  if (kill_at == 0) return;
  if (the_ranges_for != kill_at) {  // armed anew; two threads here at once do the same
    the_ranges_for = kill_at;
    look_up_ranges();
  }
  if (is_shared(address)) pass(*points, kill_at);
}

__attribute__((constructor)) void take_file() {
  const char* path = std::getenv(kCrashPointsFile);
  if (path == nullptr) return;
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) ::abort();
  void* memory = ::mmap(nullptr, sizeof(CrashPoints), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) ::abort();
  the_points = static_cast<CrashPoints*>(memory);
}

}  // namespace

void CrashPoints::arm(std::uint64_t at) noexcept {
  __atomic_store_n(&seen, 0, kOrder);
  __atomic_store_n(&kill_at, at, kOrder);
}
void CrashPoints::disarm() noexcept { __atomic_store_n(&kill_at, 0, kOrder); }
std::uint64_t CrashPoints::count() const noexcept { return __atomic_load_n(&seen, kOrder); }

void count_crash_points_in(CrashPoints* points) noexcept { the_points = points; }

}  // namespace zeropool::testing

using zeropool::testing::atomic_point;
using zeropool::testing::plain_point;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
void __tsan_read_range(void*, unsigned long) {}
void __tsan_write_range(void* address, unsigned long) { plain_point(address); }

// What some compilers call in place of the library's.
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) {
  plain_point(to);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, unsigned long bytes) {
  plain_point(to);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, unsigned long bytes) {
  plain_point(to);
  return std::memset(to, value, bytes);
}

#define ZEROPOOL_PLAIN(bytes)                                                 \
  void __tsan_read##bytes(void*) {}                                           \
  void __tsan_write##bytes(void* address) { plain_point(address); }           \
  void __tsan_unaligned_read##bytes(void*) {}                                 \
  void __tsan_unaligned_write##bytes(void* address) { plain_point(address); } \
  void __tsan_volatile_read##bytes(void*) {}                                  \
  void __tsan_volatile_write##bytes(void* address) { plain_point(address); }

ZEROPOOL_PLAIN(1)
ZEROPOOL_PLAIN(2)
ZEROPOOL_PLAIN(4)
ZEROPOOL_PLAIN(8)
ZEROPOOL_PLAIN(16)

#define ZEROPOOL_FETCH(bits, type, operation)                                        \
  type __tsan_atomic##bits##_fetch_##operation(volatile type* at, type value, int) { \
    atomic_point();                                                                  \
    return __atomic_fetch_##operation(at, value, __ATOMIC_SEQ_CST);                  \
  }

#define ZEROPOOL_ATOMIC(bits, type)                                                                \
  type __tsan_atomic##bits##_load(const volatile type* at, int) {                                  \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile type* at, type value, int) {                           \
    atomic_point();                                                                                \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                \
  type __tsan_atomic##bits##_exchange(volatile type* at, type value, int) {                        \
    atomic_point();                                                                                \
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                                       \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* at, type* expected, type value, \
                                                    int, int) {                                    \
    atomic_point();                                                                                \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST,               \
                                       __ATOMIC_SEQ_CST);                                          \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* at, type* expected, type value,   \
                                                  int, int) {                                      \
    atomic_point();                                                                                \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST,               \
                                       __ATOMIC_SEQ_CST);                                          \
  }                                                                                                \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* at, type expected, type value,    \
                                                  int, int) {                                      \
    atomic_point();                                                                                \
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
    return expected;                                                                               \
  }                                                                                                \
  ZEROPOOL_FETCH(bits, type, add)                                                                  \
  ZEROPOOL_FETCH(bits, type, sub)                                                                  \
  ZEROPOOL_FETCH(bits, type, and)                                                                  \
  ZEROPOOL_FETCH(bits, type, or)                                                                   \
  ZEROPOOL_FETCH(bits, type, xor)                                                                  \
  ZEROPOOL_FETCH(bits, type, nand)

ZEROPOOL_ATOMIC(8, std::uint8_t)
ZEROPOOL_ATOMIC(16, std::uint16_t)
ZEROPOOL_ATOMIC(32, std::uint32_t)
ZEROPOOL_ATOMIC(64, std::uint64_t)

}  // extern "C"
