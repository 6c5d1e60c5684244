#include "pipeline/hasher.hpp"

#include <cerrno>
#include <cstdio>
#include <exception>
#include <memory>
#include <poll.h>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "pipeline/child_link.hpp"
#include "pipeline/pipe_link.hpp"
#include "pipeline/pool_link.hpp"
#include "pipeline/sha256.hpp"

namespace pipeline {
namespace {

constexpr std::uint32_t kDigestsAtOnce = 32;
constexpr std::uint64_t kBytesAtOnce = 4 * 1024 * 1024;  // so that a death costs little work
constexpr int kChunksAtOnce = 8;                         // of one reader before the next one's turn

class Hasher {
 public:
  explicit Hasher(const Options& options) : coordinator_(options) {}

  ChildLink& coordinator() { return coordinator_; }
  void run();

 private:
  // A reader sends one file after the other, so one hash in the making is enough.
  struct Link {
    std::unique_ptr<ChunkSource> source;
    Sha256 sha256;
    std::uint64_t hashed_bytes = 0;
    std::uint32_t file = 0;
  };

  void wait_for_work();
  bool listen_to_coordinator();
  void connect(MessageView& message, UniqueFd fd);
  bool drain(Link& link);
  void take_chunk(Link& link, const ChunkHead& head, std::span<const std::byte> bytes);
  void report();

  ChildLink coordinator_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<pollfd> polled_;  // the coordinator, then links_
  Message digests_{MessageType::kDigests};
  std::uint64_t unreported_bytes_ = 0;
};

void Hasher::run() {
  coordinator_.start();
  while (true) {
    wait_for_work();
    for (std::size_t i = links_.size(); i-- > 0;) {
      if (polled_[i + 1].revents != 0 && !drain(*links_[i])) {
        links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    if (polled_[0].revents != 0 && !listen_to_coordinator()) return;
  }
}

// Digests of small files are reported many at once while there is work, and at once when there is none.
void Hasher::wait_for_work() {
  polled_.assign(1, {coordinator_.fd(), POLLIN, 0});
  for (const auto& link : links_) polled_.push_back({link->source->fd(), POLLIN, 0});
  while (true) {
    const int ready = ::poll(polled_.data(), polled_.size(), digests_.count() > 0 ? 0 : -1);
    if (ready > 0) return;
    if (ready == 0) {
      report();
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "poll");
    }
  }
}

bool Hasher::listen_to_coordinator() {
  UniqueFd fd;
  MessageView message = coordinator_.receive(&fd);
  switch (message.type()) {
    case MessageType::kChannel: connect(message, std::move(fd)); return true;
    case MessageType::kFinish:
      report();
      coordinator_.send_final();
      return false;
    default: throw std::runtime_error("a message that is not for hashers came");
  }
}

void Hasher::connect(MessageView& message, UniqueFd fd) {
  message.take<ChannelBody>();
  auto link = std::make_unique<Link>();
  if (coordinator_.mode() == Mode::kPool) {
    link->source = std::make_unique<PoolSource>(coordinator_.pool(), std::move(fd));
  } else {
    link->source = std::make_unique<PipeSource>(std::move(fd));
  }
  links_.push_back(std::move(link));
}

// False: that reader has ended.
bool Hasher::drain(Link& link) {
  for (int i = 0; i < kChunksAtOnce; ++i) {
    ChunkHead head;
    std::span<const std::byte> bytes;
    switch (link.source->receive(head, bytes)) {
      case ChunkSource::Outcome::kChunk:
        take_chunk(link, head, bytes);
        link.source->done();
        break;
      case ChunkSource::Outcome::kNothingYet: return true;
      case ChunkSource::Outcome::kReaderGone: return false;
    }
  }
  return true;
}

void Hasher::take_chunk(Link& link, const ChunkHead& head, std::span<const std::byte> bytes) {
  if ((head.flags & kForgetFile) != 0) return;
  if (head.offset == 0) {
    link.sha256.begin();
    link.hashed_bytes = 0;
    link.file = head.file;
  }
  if (head.file != link.file || head.offset != link.hashed_bytes) {
    throw std::runtime_error("a chunk of file " + std::to_string(head.file) + " is out of order");
  }
  link.sha256.add(bytes);
  link.hashed_bytes += bytes.size();
  if ((head.flags & kLastChunk) == 0) return;
  digests_.add(DigestEntry{link.file, 0, link.hashed_bytes, link.sha256.finish()});
  digests_.count_entry();
  unreported_bytes_ += link.hashed_bytes;
  if (digests_.count() >= kDigestsAtOnce || unreported_bytes_ >= kBytesAtOnce) report();
}

void Hasher::report() {
  if (digests_.count() == 0) return;
  coordinator_.send(digests_);
  digests_ = Message(MessageType::kDigests);
  unreported_bytes_ = 0;
}

}  // namespace

int run_hasher(const Options& options) {
  Hasher hasher(options);
  try {
    hasher.run();
    return 0;
  } catch (const std::exception& error) {
    hasher.coordinator().send_failure(error.what());
    return 1;
  }
}

}  // namespace pipeline
