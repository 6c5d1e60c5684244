#include "pipeline/reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <map>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/child_link.hpp"
#include "pipeline/pipe_link.hpp"
#include "pipeline/pool_link.hpp"

namespace pipeline {
namespace {

// Reads until `into` is full or the file ends. False: errno says why.
bool read_chunk(int fd, std::span<std::byte> into, std::size_t& bytes) {
  bytes = 0;
  while (bytes < into.size()) {
    const ssize_t got = ::read(fd, into.data() + bytes, into.size() - bytes);
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
    if (got > 0) bytes += static_cast<std::size_t>(got);
  }
  return true;
}

class Reader {
 public:
  explicit Reader(const Options& options) : coordinator_(options) {}

  ChildLink& coordinator() { return coordinator_; }
  void run();

 private:
  struct Link {
    std::uint32_t incarnation = 0;
    std::unique_ptr<ChunkSink> sink;  // null: that hasher is gone
  };

  void connect(MessageView& message, UniqueFd fd);
  void do_jobs(MessageView& message);
  JobEndEntry do_file(std::uint32_t file, const std::string& path, Link& link);
  JobEndEntry send_file(int fd, std::uint64_t size, std::uint32_t file, Link& link);

  ChildLink coordinator_;
  std::map<std::uint32_t, Link> links_;  // by the hasher's number
};

void Reader::run() {
  coordinator_.start();
  while (true) {
    UniqueFd fd;
    MessageView message = coordinator_.receive(&fd);
    switch (message.type()) {
      case MessageType::kChannel: connect(message, std::move(fd)); break;
      case MessageType::kJobs: do_jobs(message); break;
      case MessageType::kFinish: coordinator_.send_final(); return;
      default: throw std::runtime_error("a message that is not for readers came");
    }
  }
}

void Reader::connect(MessageView& message, UniqueFd fd) {
  const auto body = message.take<ChannelBody>();
  Link link;
  link.incarnation = body.incarnation;
  if (coordinator_.mode() == Mode::kPool) {
    link.sink = std::make_unique<PoolSink>(coordinator_.pool(), std::move(fd), body.client_id);
  } else {
    link.sink = std::make_unique<PipeSink>(std::move(fd));
  }
  links_[body.peer] = std::move(link);
}

void Reader::do_jobs(MessageView& message) {
  const auto body = message.take<JobsBody>();
  Link gone;
  Link* link = &links_[body.hasher];
  if (link->incarnation != body.incarnation) link = &gone;
  Message ended(MessageType::kJobsEnded);
  for (std::uint32_t i = 0; i < message.count(); ++i) {
    const auto job = message.take<JobEntry>();
    const std::string path = message.take_text(job.path_bytes);
    ended.add(do_file(job.file, path, *link));
    ended.count_entry();
  }
  coordinator_.send(ended);
}

JobEndEntry Reader::do_file(std::uint32_t file, const std::string& path, Link& link) {
  if (!link.sink) return {file, JobOutcome::kHasherGone};
  const auto unreadable = [file](int error) {
    return JobEndEntry{file, JobOutcome::kUnreadable, 0, error};
  };
  // O_NONBLOCK: a file that became a FIFO since it was listed would wait for a writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return unreadable(errno);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return unreadable(errno);
  if (!S_ISREG(status.st_mode)) return unreadable(EINVAL);
  return send_file(fd.get(), static_cast<std::uint64_t>(status.st_size), file, link);
}

// As many bytes as the file had when it was opened, or fewer if it has been cut since.
JobEndEntry Reader::send_file(int fd, std::uint64_t size, std::uint32_t file, Link& link) {
  ChunkHead head;
  head.file = file;
  const auto send = [&link, &head] {
    if (link.sink->send(head)) return true;
    link.sink.reset();
    return false;
  };
  do {
    std::size_t bytes = 0;
    const std::uint64_t remaining = size - head.offset;
    if (remaining > 0) {
      const std::size_t wanted = std::min<std::uint64_t>(remaining, kMaxChunkBytes);
      const std::span<std::byte> room = link.sink->prepare(wanted);
      if (room.empty()) {
        link.sink.reset();
        return {file, JobOutcome::kHasherGone};
      }
      if (!read_chunk(fd, room, bytes)) {
        const int error = errno;
        head.length = 0;
        head.flags = kForgetFile;
        if (!send()) return {file, JobOutcome::kHasherGone};
        return {file, JobOutcome::kUnreadable, 0, error};
      }
      if (bytes < wanted) size = head.offset + bytes;
    }
    head.length = static_cast<std::uint32_t>(bytes);
    head.flags = head.offset + bytes == size ? kLastChunk : 0;
    if (!send()) return {file, JobOutcome::kHasherGone};
    head.offset += bytes;
  } while (head.offset < size);
  return {file, JobOutcome::kSent, size};
}

}  // namespace

int run_reader(const Options& options) {
  Reader reader(options);
  try {
    reader.run();
    return 0;
  } catch (const std::exception& error) {
    reader.coordinator().send_failure(error.what());
    return 1;
  }
}

}  // namespace pipeline
