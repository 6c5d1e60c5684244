// P10: what metrics cost the daemon: nothing while it is idle, and a scrape with few and many threads.
//
//   zeropool_scrape PID HOST PORT SECONDS
//
// scripts/bench --scrape makes the daemon, whose pool is called bench.

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <signal.h>
#include <sstream>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <zeropool/zeropool.hpp>

namespace {

using Clock = std::chrono::steady_clock;

std::string ask(const char* host, int port, const std::string& headers) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, host, &address.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request =
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n";
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
      char part[65536];
      for (ssize_t got = 0; (got = ::recv(fd, part, sizeof(part), 0)) > 0;) {
        answer.append(part, static_cast<std::size_t>(got));
      }
    }
  }
  ::close(fd);
  return answer;
}

double value_of(const std::string& scrape, const std::string& name) {
  double sum = 0;
  std::istringstream lines(scrape);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name, 0) != 0 || line.size() <= name.size()) continue;
    if (line[name.size()] == ' ' || line[name.size()] == '{')
      sum += std::atof(line.c_str() + line.rfind(' '));
  }
  return sum;
}

struct Spread {
  double median = 0;
  double worst = 0;
};
Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.back()};
}

void bench_scrapes(const char* host, int port, const char* headers, const char* what) {
  std::vector<double> whole;
  std::vector<double> collecting;
  std::string last;
  for (int i = 0; i < 60; ++i) {
    const auto begin = Clock::now();
    last = ask(host, port, headers);
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
    whole.push_back(took.count());
    collecting.push_back(value_of(last, "zeropool_scrape_duration_seconds") * 1e3);
  }
  const bool plain = headers[0] == 0;
  const Spread all = spread(whole);
  const Spread collected = spread(collecting);
  std::printf("  %-22s %7zu bytes, median %6.2f ms, worst of %zu %6.2f", what, last.size(),
              all.median, whole.size(), all.worst);
  if (plain) {
    std::printf("; of it to collect %6.2f ms, worst %6.2f (%.0f threads)", collected.median,
                collected.worst, value_of(last, "zeropool_threads"));
  }
  std::printf("\n");
}

constexpr std::size_t kThreadsOfAProcess = 512;

// Processes whose threads have caches, and do nothing more.
class Crowd {
 public:
  Crowd() = default;
  ~Crowd() {
    for (const pid_t pid : processes_) ::kill(pid, SIGKILL);
    for (const pid_t pid : processes_) ::waitpid(pid, nullptr, 0);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  bool grow_to(std::size_t threads) {
    while (threads_ < threads) {
      const std::size_t more = std::min(kThreadsOfAProcess, threads - threads_);
      int ready[2];
      if (::pipe2(ready, O_CLOEXEC) != 0) return false;
      const pid_t pid = ::fork();
      if (pid < 0) return false;
      if (pid == 0) live(more, ready[1]);
      processes_.push_back(pid);
      ::close(ready[1]);
      char word = 0;
      const bool lives = ::read(ready[0], &word, 1) == 1;
      ::close(ready[0]);
      if (!lives) return false;
      threads_ += more;
    }
    return true;
  }

 private:
  [[noreturn]] static void live(std::size_t threads, int ready) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto pool = zeropool::Pool::open("bench");
    if (!pool) {
      std::fprintf(stderr, "zeropool_scrape: %s\n", pool.error().sentence.c_str());
      ::_exit(1);
    }
    std::atomic<std::size_t> done{0};
    try {
      for (std::size_t thread = 0; thread < threads; ++thread) {
        std::thread([&] {
          // Records of threads come as they are asked for, and many ask at once.
          for (int tries = 0; !pool->get(4096); ++tries) {
            if (tries == 10'000) {
              std::fprintf(stderr, "zeropool_scrape: %s\n", zp_last_error());
              ::_exit(1);
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
          // Who was without one in the crowd asks again.
          for (int more = 0; more < 100; ++more) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            static_cast<void>(pool->get(4096));
          }
          done.fetch_add(1);
          for (;;) ::pause();
        }).detach();
      }
    } catch (const std::system_error& error) {
      std::fprintf(stderr, "zeropool_scrape: no more threads: %s\n", error.what());
      ::_exit(1);
    }
    while (done.load() < threads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (::write(ready, "", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }

  std::vector<pid_t> processes_;
  std::size_t threads_ = 0;
};

struct Use {
  double cpu_ms = 0;
  std::uint64_t slices = 0;
  std::uint64_t resident_kib = 0;
  std::uint64_t own_kib = 0;  // without shared pages
};

Use use_of(const std::string& pid) {
  Use use;
  double ns = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::ifstream schedule(thread.path() / "schedstat");
    std::uint64_t on_cpu_ns = 0;
    std::uint64_t waited_ns = 0;
    std::uint64_t slices = 0;
    if (schedule >> on_cpu_ns >> waited_ns >> slices) {
      ns += static_cast<double>(on_cpu_ns);
      use.slices += slices;
    }
  }
  use.cpu_ms = ns / 1e6;
  std::ifstream status("/proc/" + pid + "/status");
  std::uint64_t anonymous = 0;
  std::uint64_t file = 0;
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") status >> use.resident_kib;
    if (word == "RssAnon:") status >> anonymous;
    if (word == "RssFile:") status >> file;
  }
  use.own_kib = anonymous + file;
  return use;
}

}  // namespace

int main(int count, char** words) {
  if (count != 5) {
    std::fprintf(stderr, "usage: zeropool_scrape PID HOST PORT SECONDS\n");
    return 2;
  }
  const char* host = words[2];
  const int port = std::atoi(words[3]);
  const int seconds = std::atoi(words[4]);

  const Use before = use_of(words[1]);
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  const Use after = use_of(words[1]);
  std::printf(
      "P10  idle daemon, %d s: %.2f ms of CPU, %llu time slices, %llu KiB resident, %llu of it "
      "without shared pages\n",
      seconds, after.cpu_ms - before.cpu_ms,
      static_cast<unsigned long long>(after.slices - before.slices),
      static_cast<unsigned long long>(after.resident_kib),
      static_cast<unsigned long long>(after.own_kib));

  Crowd crowd;
  for (const std::size_t threads : {std::size_t{64}, std::size_t{4096}}) {
    if (!crowd.grow_to(threads)) {
      std::fprintf(
          stderr,
          "zeropool_scrape: no %zu threads with caches: a limit of this machine, or no daemon\n",
          threads);
      return 1;
    }
    std::printf("P10  scrape with %zu threads (goal: %d ms)\n", threads, threads == 64 ? 1 : 10);
    bench_scrapes(host, port, "", "text");
    bench_scrapes(host, port, "Accept: application/openmetrics-text;version=1.0.0\r\n",
                  "OpenMetrics");
    bench_scrapes(host, port, "Accept-Encoding: gzip\r\n", "text, gzip");
  }
  return 0;
}
