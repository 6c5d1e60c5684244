// What a client costs: the time of its attach, the memory that it and a thread of it take while they do nothing.
//
//   zeropool_attach POOL DAEMON_PID CLIENTS THREADS
//
// Each client is a fresh process. It is ready when it has got, written and put its first buffer.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "bench/works/measure.hpp"
#include "bench/works/options.hpp"
#include "bench/works/processes.hpp"

namespace {

using namespace zeropool_bench;

constexpr std::size_t kMostClients = 256;

struct Client {
  double open_us = 0;
  double ready_us = 0;
  std::int64_t own_bytes = 0;
};
struct All {
  std::atomic<std::uint32_t> done{0};
  std::atomic<std::uint32_t> stop{0};
  std::int64_t thread_bytes = 0;  // of all threads
  Client clients[kMostClients];
};

// A number of KiB behind a word in a file of /proc.
std::int64_t bytes_in(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    if (word != name) continue;
    std::int64_t kib = 0;
    file >> kib;
    return kib * 1024;
  }
  fail(path + " says nothing of " + name);
}

// Memory of a process's own: its anonymous pages, and the page tables of all that it maps. Not the pool's.
std::int64_t own_bytes(const std::string& process) {
  return bytes_in("/proc/" + process + "/smaps_rollup", "Anonymous:") +
         bytes_in("/proc/" + process + "/status", "VmPTE:");
}

zeropool::Pool open(const std::string& name) {
  auto pool = zeropool::Pool::open(name);
  if (!pool) fail(pool.error().sentence);
  return std::move(*pool);
}

void use(zeropool::Pool& pool) {
  zeropool::Buffer buffer = pool.get(65536);
  if (!buffer) fail(buffer.error().sentence);
  std::memset(buffer.data(), 1, 64);
}

void be_client(const std::string& name, Client& mine, All& all) {
  const std::int64_t before = own_bytes("self");
  const auto begun = Clock::now();
  zeropool::Pool pool = open(name);
  mine.open_us = seconds_since(begun) * 1e6;
  use(pool);
  mine.ready_us = seconds_since(begun) * 1e6;
  mine.own_bytes = own_bytes("self") - before;
  ++all.done;
  while (all.stop.load() == 0) ::usleep(1000);
}

// Threads that exist, then the same ones after a get and a put each.
void be_threads(const std::string& name, std::uint32_t count, All& all) {
  zeropool::Pool pool = open(name);
  use(pool);
  std::atomic<std::uint32_t> there{0};
  std::atomic<std::uint32_t> used{0};
  std::atomic<std::uint32_t> phase{0};
  std::vector<std::jthread> threads;
  for (std::uint32_t i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      ++there;
      phase.wait(0);
      use(pool);
      ++used;
      phase.wait(1);
    });
  }
  while (there.load() < count) ::usleep(1000);
  const std::int64_t before = own_bytes("self");
  phase = 1;
  phase.notify_all();
  while (used.load() < count) ::usleep(1000);
  all.thread_bytes = own_bytes("self") - before;
  phase = 2;
  phase.notify_all();
  threads.clear();
  ++all.done;
}

std::uint32_t number(const char* text, std::uint32_t most) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text, &end, 10);
  if (*text == 0 || *end != 0 || value == 0 || value > most) {
    fail(std::string("not a number from 1 to ") + std::to_string(most) + ": " + text);
  }
  return static_cast<std::uint32_t>(value);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: zeropool_attach POOL DAEMON_PID CLIENTS THREADS\n");
    return 2;
  }
  const std::string pool = argv[1];
  const std::string daemon = argv[2];
  const std::uint32_t clients = number(argv[3], kMostClients);
  const std::uint32_t threads = number(argv[4], 4096);
  All& all = shared<All>();
  const int cpu = ::sched_getcpu();
  std::int64_t daemon_bytes = 0;
  {
    // The daemon's first client makes what all later ones share.
    const zeropool::Pool first = open(pool);
    const std::int64_t before = own_bytes(daemon);
    std::vector<std::unique_ptr<Child>> children;
    for (std::uint32_t i = 0; i < clients; ++i) {
      children.push_back(
          std::make_unique<Child>(cpu, [&, i] { be_client(pool, all.clients[i], all); }));
      while (all.done.load() <= i) ::usleep(500);
    }
    daemon_bytes = own_bytes(daemon) - before;
    all.stop = 1;
  }
  {
    const Child child(cpu, [&] { be_threads(pool, threads, all); });
  }
  std::printf("{\"open_us\": [");
  for (std::uint32_t i = 0; i < clients; ++i) {
    std::printf("%s%.1f", i == 0 ? "" : ", ", all.clients[i].open_us);
  }
  std::printf("], \"ready_us\": [");
  std::int64_t own = 0;
  for (std::uint32_t i = 0; i < clients; ++i) {
    std::printf("%s%.1f", i == 0 ? "" : ", ", all.clients[i].ready_us);
    own += all.clients[i].own_bytes;
  }
  std::printf("], \"client_kib\": %.2f, \"daemon_kib\": %.2f, \"thread_kib\": %.3f}\n",
              static_cast<double>(own) / 1024 / clients,
              static_cast<double>(daemon_bytes) / 1024 / clients,
              static_cast<double>(all.thread_bytes) / 1024 / threads);
  return 0;
}
