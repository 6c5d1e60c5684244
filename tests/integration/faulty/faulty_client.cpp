// faulty_client WHAT: a program with the bug that its argument names, or with none ("clean"). It is built twice, for
// AddressSanitizer and without, against the libzeropool of the tree; the daemon is $ZEROPOOL_SOCKET's.
//
// It exits with 0, what it did being noticed by nobody; what libzeropool counted is its output.

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <zeropool/zeropool.hpp>

namespace {

using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

constexpr std::size_t kBytes = 5000;  // of a class of 64 KiB

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "faulty_client: %s: %s\n", what, zp_last_error());
  std::exit(3);
}

// By address alone, so that no compiler sees what is wrong.
std::byte* hidden(void* address) {
  std::byte* volatile pointer = static_cast<std::byte*>(address);
  return pointer;
}
void read_at(std::byte* address) {
  volatile std::byte value = *address;
  static_cast<void>(value);
}

void read_after_put(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  std::byte* data = hidden(buffer.data());
  buffer.reset();
  read_at(data + 100);
}

void read_after_c_put(Pool& pool) {
  zp_buffer buffer;
  require(zp_get(pool.c_pool(), kBytes, &buffer) == 0, "zp_get");
  std::byte* data = hidden(buffer.data);
  require(zp_put(&buffer) == 0, "zp_put");
  read_at(data);
}

void read_after_put_ptr(Pool& pool) {
  zp_buffer buffer;
  require(zp_get(pool.c_pool(), kBytes, &buffer) == 0, "zp_get");
  std::byte* data = hidden(buffer.data);
  require(zp_put_ptr(pool.c_pool(), data + 4) == 0, "zp_put_ptr");
  read_at(data);
}

void read_after_batch(Pool& pool) {
  std::array<Buffer, 4> buffers;
  require(pool.get_batch(kBytes, buffers) == 4, "get_batch");
  std::byte* data = hidden(buffers[2].data());
  pool.put_batch(buffers);
  read_at(data);
}

void read_after_release(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  std::byte* data = hidden(buffer.data());
  const Handle handle = std::move(buffer).release();
  require(static_cast<bool>(handle), "release");
  read_at(data + kBytes - 1);
}

void write_after_put(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  std::byte* data = hidden(buffer.data());
  buffer.reset();
  data[1234] = std::byte{1};
  Buffer again = pool.get(kBytes);
  require(again.data() == data, "the slot put last is not got first");
}

// What another process finds: it gets all slots that there are.
void write_after_put_seen_by_another(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  std::byte* data = hidden(buffer.data());
  buffer.reset();
  data[1234] = std::byte{1};
  // With its thread its cache ends.
  const std::string name = pool.name();
  pool = Pool();
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Pool::open(name);
    if (!own) ::_exit(3);
    static std::array<Buffer, 4096> all;
    for (Buffer& one : all) {
      one = own->try_get(kBytes);
      if (!one) break;
    }
    std::printf("writes_after_put %llu\n",
                static_cast<unsigned long long>(own->stats().writes_after_put));
    std::fflush(stdout);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  require(status == 0, "the other process");
  std::exit(0);
}

void write_beyond_size(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  hidden(buffer.data())[kBytes + 3] = std::byte{1};
  buffer.reset();
  // It was put all the same.
  require(pool.stats().puts > 0, "the put");
}

void write_beyond_size_before_release(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  hidden(buffer.data())[kBytes] = std::byte{1};
  require(static_cast<bool>(std::move(buffer).release()), "release");
}

void write_beyond_new_size(Pool& pool) {
  Buffer buffer = pool.get(kBytes);
  require(buffer.resize(2 * kBytes), "resize");
  hidden(buffer.data())[2 * kBytes] = std::byte{1};
  buffer.reset();
}

// All that a program may do: each byte of each buffer, in turns with a forked child that has the pool, too.
void fill(Buffer& buffer, int value) {
  require(static_cast<bool>(buffer), "get");
  std::memset(buffer.data(), value, buffer.size());
}
void expect_filled(const Buffer& buffer, int value) {
  for (const std::byte byte : buffer.span()) {
    require(byte == static_cast<std::byte>(value), "a buffer has not what was written");
  }
}

// Something else where the pool's memory was. False: it cannot be had.
bool map_and_touch(void* where) {
  constexpr std::size_t kMapped = 1 << 20;
  void* there = ::mmap(where, kMapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (there != where) return false;
  std::memset(hidden(there), 1, kMapped);
  ::munmap(there, kMapped);
  return true;
}

void hand_to_and_fro(Pool& pool, int in, int out, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    zp_handle raw;
    require(::read(in, &raw, sizeof(raw)) == sizeof(raw), "read");
    Buffer buffer = pool.adopt(Handle{raw});
    require(static_cast<bool>(buffer), "adopt");
    expect_filled(buffer, i);
    fill(buffer, i + 1);
    if (i % 3 == 0) {
      Buffer another = pool.get(1 + static_cast<std::size_t>(i) * 100);
      fill(another, i + 1);
      buffer = std::move(another);
    }
    const Handle back = std::move(buffer).release();
    require(::write(out, &back.raw, sizeof(back.raw)) == sizeof(back.raw), "write");
  }
}

void clean(Pool& pool) {
  for (std::size_t bytes = 1; bytes <= 65536; bytes = bytes * 3 + 1) {
    Buffer buffer = pool.get(bytes);
    fill(buffer, 7);
    require(buffer.resize(buffer.capacity()), "resize");
    fill(buffer, 8);
    require(buffer.resize(bytes), "resize");
    expect_filled(buffer, 8);
  }
  std::array<Buffer, 40> batch;
  for (int round = 0; round < 10; ++round) {
    const std::size_t got = pool.get_batch(kBytes, batch);
    for (std::size_t i = 0; i < got; ++i) fill(batch[i], round);
    pool.put_batch(batch);
  }
  const std::array<std::size_t, 3> sizes = {1, 4096, 65536};
  auto all = pool.get_batch(sizes);
  for (Buffer& buffer : all) fill(buffer, 3);
  // Between two threads, put in another than where it was got.
  Buffer moved = pool.get(kBytes);
  std::thread([&] {
    fill(moved, 5);
    moved.reset();
    for (int i = 0; i < 100; ++i) {
      Buffer own = pool.get(static_cast<std::size_t>(i) * 600 + 1);
      fill(own, i);
    }
  }).join();
  pool.get(kBytes, zeropool::GetOptions{.zero = true}).reset();
  Buffer taken_back = pool.get(kBytes);
  fill(taken_back, 9);
  taken_back = pool.adopt(std::move(taken_back).release());
  expect_filled(taken_back, 9);

  // Fork: the child first maps something where it has no pool any more, then works with the parent.
  void* page = taken_back.data() - reinterpret_cast<std::uintptr_t>(taken_back.data()) % 4096;
  Buffer first = pool.get(kBytes);
  std::byte* put_before = first.data() - reinterpret_cast<std::uintptr_t>(first.data()) % 4096;
  first.reset();
  int to_child[2];
  int to_parent[2];
  require(::pipe(to_child) == 0 && ::pipe(to_parent) == 0, "pipe");
  constexpr int kRounds = 60;
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (map_and_touch(put_before)) std::puts("mapped in the child");
    hand_to_and_fro(pool, to_child[0], to_parent[1], kRounds);
    std::exit(0);
  }
  for (int i = 0; i < kRounds; ++i) {
    Buffer buffer = pool.get(kBytes);
    fill(buffer, i);
    const Handle there = std::move(buffer).release();
    require(::write(to_child[1], &there.raw, sizeof(there.raw)) == sizeof(there.raw), "write");
    zp_handle raw;
    require(::read(to_parent[0], &raw, sizeof(raw)) == sizeof(raw), "read");
    buffer = pool.adopt(Handle{raw});
    require(static_cast<bool>(buffer), "adopt");
    expect_filled(buffer, i + 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  require(status == 0, "the child");

  // Closed, and something else mapped in its place; then opened again.
  const std::string name = pool.name();
  for (Buffer& buffer : all) buffer.reset();
  taken_back.reset();
  require(pool.stats().writes_after_put == 0 && pool.stats().writes_beyond_size == 0, "counted");
  pool = Pool();
  if (map_and_touch(page)) std::puts("mapped after the close");
  pool = std::move(*Pool::open(name));
  Buffer last = pool.get(65536);
  fill(last, 1);
}

struct Fault {
  const char* name;
  void (*commit)(Pool& pool);
};
constexpr Fault kFaults[] = {
    {"clean", clean},
    {"read-after-put", read_after_put},
    {"read-after-c-put", read_after_c_put},
    {"read-after-put-ptr", read_after_put_ptr},
    {"read-after-batch", read_after_batch},
    {"read-after-release", read_after_release},
    {"write-after-put", write_after_put},
    {"write-after-put-seen-by-another", write_after_put_seen_by_another},
    {"write-beyond-size", write_beyond_size},
    {"write-beyond-size-before-release", write_beyond_size_before_release},
    {"write-beyond-new-size", write_beyond_new_size},
};

}  // namespace

int main(int argc, char** argv) {
  auto opened = Pool::open("");
  require(static_cast<bool>(opened), "open");
  for (const Fault& fault : kFaults) {
    if (argc != 2 || std::strcmp(argv[1], fault.name) != 0) continue;
    fault.commit(*opened);
    const zeropool::PoolStats stats = opened->stats();
    std::printf("writes_after_put %llu\nwrites_beyond_size %llu\n",
                static_cast<unsigned long long>(stats.writes_after_put),
                static_cast<unsigned long long>(stats.writes_beyond_size));
    return 0;
  }
  std::fprintf(stderr, "faulty_client: which fault?\n");
  return 2;
}
