#include "pipeline/coordinator.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <sys/signalfd.h>
#include <system_error>
#include <tuple>

#include "pipeline/pipe_link.hpp"
#include "pipeline/progress.hpp"

namespace pipeline {
namespace {

constexpr std::uint32_t kBatchesAtOnce =
    2;  // of one reader: it works on one while the next is on its way
constexpr std::uint32_t kUnexpectedDeaths = 3;
constexpr std::size_t kNobody = SIZE_MAX;

UniqueFd watch_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int fd = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  return UniqueFd(fd);
}

}  // namespace

Coordinator::Coordinator(const Options& options, const FileList& list, Progress& progress)
    : options_(options), list_(list), progress_(progress), work_(list), signals_(watch_signals()) {}

bool Coordinator::run() {
  for (std::uint32_t i = 0; i < options_.readers; ++i) start(Role::kReader, i, 0);
  for (std::uint32_t i = 0; i < options_.hashers; ++i) start(Role::kHasher, i, 0);
  while (true) {
    give_out_work();
    kill_when_due();
    finish();
    const bool anybody = std::any_of(children_.begin(), children_.end(),
                                     [](const auto& child) { return child->running(); });
    if (!anybody) break;
    if (!wait_for_events()) {
      children_.clear();
      return false;
    }
  }
  for (const auto& child : children_) {
    if (!child->exited_well() && !child->replaced) {
      throw std::runtime_error(child->name() + " " + child->end_text());
    }
  }
  result_.seconds = std::chrono::duration<double>(settled_at_ - started_at_).count();
  return true;
}

void Coordinator::start(Role role, std::uint32_t index, std::uint32_t incarnation) {
  children_.push_back(std::make_unique<ChildProcess>(options_, role, index, incarnation));
}

// False: a signal says to stop.
bool Coordinator::wait_for_events() {
  std::vector<pollfd> polled = {{signals_.get(), POLLIN, 0}};
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (!children_[i]->running()) continue;
    polled.push_back({children_[i]->socket().fd(), POLLIN, 0});
    numbers.push_back(i);
  }
  const int ready = ::poll(polled.data(), polled.size(), progress_.milliseconds_to_next());
  if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
  progress_.show(work_);
  if (ready <= 0) return true;
  if (polled[0].revents != 0) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (polled[i + 1].revents != 0) listen(numbers[i]);
  }
  return true;
}

void Coordinator::listen(std::size_t number) {
  while (true) {
    PacketSocket& socket = children_[number]->socket();
    switch (socket.receive(received_, false)) {
      case ReceiveOutcome::kMessage: handle(number, MessageView(received_)); break;
      case ReceiveOutcome::kNothingYet: return;
      case ReceiveOutcome::kPeerGone: handle_end(number); return;
    }
  }
}

void Coordinator::handle(std::size_t number, MessageView message) {
  ChildProcess& child = *children_[number];
  switch (message.type()) {
    case MessageType::kHello: handle_hello(number, message); return;
    case MessageType::kDigests: handle_digests(child, message); return;
    case MessageType::kJobsEnded:
      for (std::uint32_t i = 0; i < message.count(); ++i) {
        const auto entry = message.take<JobEndEntry>();
        work_.reader_ended(entry);
        if (entry.outcome != JobOutcome::kSent) continue;
        ++child.files;
        child.bytes += entry.bytes;
      }
      --child.batches;
      return;
    case MessageType::kFinal:
      child.stats = message.take<FinalBody>();
      child.final = true;
      return;
    case MessageType::kFailure: throw std::runtime_error(child.name() + ": " + message.rest_text());
    default: throw std::runtime_error(child.name() + " sent a message that is not for here");
  }
}

// Once a hasher is there, it is connected to all readers: they are older.
void Coordinator::handle_hello(std::size_t number, MessageView& message) {
  ChildProcess& child = *children_[number];
  child.client_id = message.take<HelloBody>().client_id;
  child.ready = true;
  child.ready_at = Clock::now();
  if (child.role() != Role::kHasher) return;
  for (const auto& reader : children_) {
    if (reader->role() == Role::kReader) connect(*reader, child);
  }
}

void Coordinator::connect(ChildProcess& reader, ChildProcess& hasher) {
  UniqueFd readers_end;
  UniqueFd hashers_end;
  if (options_.mode == Mode::kPool) {
    auto [one, other] = PacketSocket::pair();
    readers_end = std::move(one).take_fd();
    hashers_end = std::move(other).take_fd();
  } else {
    std::tie(hashers_end, readers_end) = make_pipe();
  }
  Message to_hasher(MessageType::kChannel);
  to_hasher.add(ChannelBody{reader.index(), 0, 0});
  send(hasher, to_hasher, hashers_end.get());
  Message to_reader(MessageType::kChannel);
  to_reader.add(ChannelBody{hasher.index(), hasher.incarnation(), hasher.client_id});
  send(reader, to_reader, readers_end.get());
}

void Coordinator::handle_digests(ChildProcess& hasher, MessageView& message) {
  for (std::uint32_t i = 0; i < message.count(); ++i) {
    const auto entry = message.take<DigestEntry>();
    if (!work_.digest_came(entry)) continue;
    ++hasher.files;
    hasher.bytes += entry.bytes;
  }
}

void Coordinator::handle_end(std::size_t number) {
  ChildProcess& child = *children_[number];
  const bool early = !child.final;
  child.reap();
  if (!early) return;
  if (child.role() == Role::kReader || finishing_) {
    throw std::runtime_error(child.name() + " " + child.end_text());
  }
  if (!child.killed() && ++unexpected_deaths_ > kUnexpectedDeaths) {
    throw std::runtime_error(child.name() + " " + child.end_text() + ", as others before it");
  }
  const std::uint64_t again = work_.hasher_died(static_cast<std::uint32_t>(number));
  progress_.say(child.name() + " (pid " + std::to_string(child.pid()) + ") " + child.end_text() +
                "; files to be done again: " + std::to_string(again));
  child.replaced = true;
  ++result_.replacements;
  start(Role::kHasher, child.index(), child.incarnation() + 1);
}

bool Coordinator::everybody_ready() const {
  return std::all_of(children_.begin(), children_.end(),
                     [](const auto& child) { return child->ready || !child->running(); });
}

std::size_t Coordinator::least_busy_hasher() const {
  std::size_t best = kNobody;
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const ChildProcess& child = *children_[i];
    if (child.role() != Role::kHasher || !child.ready || !child.running() || child.killed()) {
      continue;
    }
    const std::uint64_t outstanding = work_.outstanding_bytes(static_cast<std::uint32_t>(i));
    if (outstanding >= least) continue;
    best = i;
    least = outstanding;
  }
  return best;
}

void Coordinator::give_out_work() {
  if (!started_) {
    if (!everybody_ready()) return;
    started_ = true;
    started_at_ = Clock::now();
    settled_at_ = started_at_;
    progress_.start();
  }
  bool gave = true;
  while (gave) {
    gave = false;
    for (const auto& child : children_) {
      if (child->role() != Role::kReader || child->batches >= kBatchesAtOnce) continue;
      if (!work_.anything_queued()) return;
      const std::size_t hasher = least_busy_hasher();
      if (hasher == kNobody) return;
      send_batch(*child, hasher);
      gave = true;
    }
  }
}

void Coordinator::send_batch(ChildProcess& reader, std::size_t hasher) {
  Message message(MessageType::kJobs);
  message.add(JobsBody{children_[hasher]->index(), children_[hasher]->incarnation()});
  for (const std::uint32_t file : work_.take_batch(static_cast<std::uint32_t>(hasher))) {
    const std::string& path = list_.files[file].path;
    message.add(JobEntry{file, static_cast<std::uint32_t>(path.size())});
    message.add_text(path);
    message.count_entry();
  }
  ++reader.batches;
  send(reader, message);
}

// The hasher with the most on its hands, so that there is something to be done again.
void Coordinator::kill_when_due() {
  if (!started_ || result_.kills == options_.kill_at.size()) return;
  const double percent = list_.bytes == 0 ? 100.0
                                          : 100.0 * static_cast<double>(work_.settled_bytes()) /
                                                static_cast<double>(list_.bytes);
  if (percent < options_.kill_at[result_.kills]) return;
  ChildProcess* victim = nullptr;
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    ChildProcess& child = *children_[i];
    if (child.role() != Role::kHasher || !child.running()) continue;
    if (!child.ready || child.killed()) return;  // one at a time
    const std::uint64_t outstanding = work_.outstanding_bytes(static_cast<std::uint32_t>(i));
    if (victim != nullptr && outstanding <= most) continue;
    victim = &child;
    most = outstanding;
  }
  if (victim == nullptr) return;
  victim->kill();
  ++result_.kills;
}

// When all is settled and nobody is on the way to or from life: says so to everybody, once.
void Coordinator::finish() {
  if (!started_ || finishing_ || !work_.all_settled()) return;
  if (settled_at_ == started_at_) settled_at_ = Clock::now();
  if (result_.kills < options_.kill_at.size()) return;
  for (const auto& child : children_) {
    if (!child->running()) continue;
    if (!child->ready || child->killed() || child->batches > 0) return;
  }
  finishing_ = true;
  const Message message(MessageType::kFinish);
  for (const auto& child : children_) {
    if (child->running()) send(*child, message);
  }
}

void Coordinator::send(ChildProcess& child, const Message& message, int passed_fd) {
  // A child that is gone is dealt with when its socket is read to the end.
  if (child.socket().send(message.bytes(), false, passed_fd) == SendOutcome::kFull) {
    throw std::runtime_error("the socket of " + child.name() + " is full");
  }
}

}  // namespace pipeline
