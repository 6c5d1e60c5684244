#include "director.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <time.h>
#include <utility>

#include "client.hpp"
#include "load.hpp"
#include "orphans.hpp"

namespace zeropool::soak {
namespace {

using namespace std::chrono_literals;
using testing::ChildProcess;
using testing::End;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMillisecond;
constexpr std::int64_t kBetweenKills = 50 * kMillisecond;  // on average
constexpr std::int64_t kBetweenStops = 200 * kMillisecond;
constexpr auto kEndLimit = 30s;    // of a client that was told to end
constexpr auto kAuditLimit = 20s;  // reclaim and leases take less than a second

volatile sig_atomic_t interrupted = 0;

void check_interrupted() {
  if (interrupted != 0) throw Interrupted{};
}

void sleep_until(std::int64_t at_ns) {
  const timespec until{at_ns / kSecond, at_ns % kSecond};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);  // a signal ends it early
  check_interrupted();
}

std::uint64_t slots_not_back(const nlohmann::json& audit) {
  const auto count = [&](const char* name) { return audit[name].get<std::uint64_t>(); };
  const std::uint64_t back = count("free") + count("daemon");
  const std::uint64_t away = count("slots") > back ? count("slots") - back : 0;
  return std::max(away, count("lost") + count("broken"));
}

}  // namespace

void interrupt() noexcept { interrupted = 1; }

Director::Director(const SoakPlan& plan) : plan_(plan), random_(plan.seed), daemon_(kConfig) {
  adopt_orphans();
}

Director::~Director() {
  for (Place& place : places_) place.client.reset();
  daemon_.stop();
  end_orphans();
}

void Director::fail(const std::string& what) {
  const std::string log = daemon_.log();
  throw std::runtime_error(what + "; the end of the daemon's log:\n" +
                           log.substr(log.size() - std::min<std::size_t>(log.size(), 4000)));
}

void Director::start_client(std::size_t place) {
  ClientEntry& entry = board_->clients[place];
  entry.client_id.store(0, kRelaxed);
  entry.since_ns.store(0, kRelaxed);
  entry.stops.store(0, kRelaxed);
  const ClientRole role{place, plan_.seed * 1'000'003 + ++clients_started_,
                        plan_.breakage == Breakage::kPut && place == 0};
  const OpenOptions options = daemon_.options();
  places_[place].client = std::make_unique<ChildProcess>([&, role](testing::Link& link) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
    run_client(options, Scene{*board_, mailboxes_}, role, link);
  });
}

void Director::kill_client(std::size_t place) {
  ClientEntry& entry = board_->clients[place];
  board_->stalled(StallClock::under_way(entry));
  ChildProcess& client = *places_[place].client;
  const End end = client.kill();
  if (end.signal != SIGKILL) {
    fail("a client ended by itself: " + testing::describe(end) + " " + client.failure());
  }
  ++kills_;
  places_[place].resume_ns = 0;
  start_client(place);
}

void Director::stop_client(std::size_t place) {
  if (places_[place].resume_ns != 0) return;
  board_->clients[place].stops.fetch_add(1, kRelaxed);
  places_[place].client->send_signal(SIGSTOP);
  const bool long_one = random_.below(10) == 0;
  places_[place].resume_ns =
      now_ns() + static_cast<std::int64_t>(random_.below(long_one ? 3000 : 300)) * kMillisecond;
}

void Director::resume_client(std::size_t place) {
  if (places_[place].resume_ns == 0) return;
  places_[place].resume_ns = 0;
  places_[place].client->send_signal(SIGCONT);
  board_->clients[place].stops.fetch_add(1, kRelaxed);
}

// Some clients die while it is away.
void Director::kill_daemon() {
  const End end = daemon_.kill9();
  if (end.signal != SIGKILL) fail("zeropoold ended by itself: " + testing::describe(end));
  ++daemon_kills_;
  for (std::uint64_t deaths = random_.below(4); deaths > 0; --deaths) {
    sleep_until(now_ns() + static_cast<std::int64_t>(random_.below(100)) * kMillisecond);
    kill_client(random_.below(kClients));
  }
  daemon_.start_again();
  count_forgotten();
}

// What zeropoold and the one before it logged about a client.
std::string Director::logged_about(std::uint32_t id) const {
  const std::string word = "client " + std::to_string(id) + " ";
  std::string lines;
  for (const std::string& log : {daemon_.log_before(), daemon_.log()}) {
    std::istringstream text(log);
    for (std::string line; std::getline(text, line);) {
      if (line.find(word) != std::string::npos) lines += line + "\n";
    }
    lines += "--\n";
  }
  return lines;
}

// All that had attached to the daemon before must be this one's clients, the stopped ones too.
void Director::count_forgotten() {
  // Read before the daemon is asked: one that attaches meanwhile is no client of before.
  std::array<std::uint32_t, kClients> ids{};
  for (std::size_t p = 0; p < kClients; ++p) {
    ids[p] = board_->clients[p].client_id.load(kRelaxed);
  }
  const nlohmann::json document = daemon_.ctl_json({"clients"});
  for (std::size_t p = 0; p < kClients; ++p) {
    const std::uint32_t id = ids[p];
    if (id == 0) continue;
    const pid_t pid = places_[p].client->pid();
    const auto& known = document["clients"];
    if (std::any_of(known.begin(), known.end(),
                    [&](const auto& client) { return client["pid"] == pid; })) {
      continue;
    }
    ++forgotten_;
    std::fprintf(stderr,
                 "soak: zeropoold does not know client %u (pid %d) after its restart; logged:\n%s",
                 id, pid, logged_about(id).c_str());
  }
}

void Director::look_around() {
  check_interrupted();
  if (!daemon_.alive()) fail("zeropoold ended by itself");
  bury_orphans([&](pid_t pid) {
    return pid == daemon_.pid() ||
           std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
             return place.client && place.client->pid() == pid;
           });
  });
}

void Director::load() {
  const auto after = [&](std::int64_t from, std::int64_t average) {
    return from + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(2 * average)));
  };
  const std::int64_t begin = now_ns();
  const std::int64_t end = begin + static_cast<std::int64_t>(plan_.seconds) * kSecond;
  std::int64_t next_kill = after(begin, kBetweenKills);
  std::int64_t next_stop = after(begin, kBetweenStops);
  std::int64_t next_daemon_kill = begin + 2 * kSecond;
  for (std::int64_t now = begin; now < end; now = now_ns()) {
    look_around();
    for (std::size_t p = 0; p < kClients; ++p) {
      if (places_[p].resume_ns != 0 && places_[p].resume_ns <= now) resume_client(p);
    }
    if (now >= next_kill) {
      kill_client(random_.below(kClients));
      next_kill = std::max(after(next_kill, kBetweenKills), now - kSecond);
    }
    if (now >= next_stop) {
      stop_client(random_.below(kClients));
      next_stop = after(now, kBetweenStops);
    }
    if (plan_.daemon_kills && now >= next_daemon_kill) {
      kill_daemon();
      next_daemon_kill = after(now_ns() + kSecond, 2 * kSecond);
    }
    sleep_until(std::min({next_kill, next_stop, end, now_ns() + 20 * kMillisecond}));
  }
}

void Director::end_clients() {
  for (std::size_t p = 0; p < kClients; ++p) {
    resume_client(p);
    places_[p].client->link().signal();
  }
  for (Place& place : places_) {
    const End end = place.client->wait(kEndLimit);
    if (!end.well()) {
      fail("a client did not end in order: " + testing::describe(end) + " " +
           place.client->failure());
    }
    place.client.reset();
    check_interrupted();
  }
  look_around();
}

SoakResult Director::count() {
  Buffer kept;
  if (plan_.breakage == Breakage::kKeep) {
    auto pool = daemon_.open();
    if (pool) kept = pool->get(4096);
  }
  nlohmann::json audit;
  testing::eventually(
      [&] {
        check_interrupted();
        audit = daemon_.audit();
        return testing::all_free(audit);
      },
      kAuditLimit);
  if (!testing::all_free(audit))
    std::fprintf(stderr, "soak: the audit says %s\n", audit.dump().c_str());
  SoakResult result;
  result.kills = kills_;
  result.daemon_kills = daemon_kills_;
  result.lost = slots_not_back(audit) + forgotten_;
  result.doubled = board_->doubled.load(kRelaxed) + audit["doubled"].get<std::uint64_t>();
  return result;
}

SoakResult Director::run() {
  for (std::size_t p = 0; p < kClients; ++p) start_client(p);
  load();
  end_clients();
  const SoakResult result = count();
  if (board_->crashes.load(kRelaxed) != 0) fail("forked children have crashed");
  const End end = daemon_.stop();
  if (!end.well()) fail("zeropoold did not stop in order: " + testing::describe(end));
  return result;
}

}  // namespace zeropool::soak
