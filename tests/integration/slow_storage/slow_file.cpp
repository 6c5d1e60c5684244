#define FUSE_USE_VERSION 312
#include "slow_file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <fuse3/fuse_lowlevel.h>

namespace zeropool::testing {
namespace {

constexpr fuse_ino_t kFile = 2;
constexpr const char* kName = "file";
constexpr double kKeptSeconds = 3600;

struct WaitingRead {
  fuse_req_t request;
  std::size_t bytes;
};

// What the callbacks of the one session in the server's process work on.
struct Server {
  Link* test = nullptr;
  std::vector<WaitingRead> reads;
};

Server& server_of(fuse_req_t request) { return *static_cast<Server*>(fuse_req_userdata(request)); }

struct stat attributes(fuse_ino_t inode) {
  struct stat info {};
  info.st_ino = inode;
  info.st_mode = inode == kFile ? S_IFREG | 0444 : S_IFDIR | 0555;
  info.st_nlink = 1;
  info.st_size = inode == kFile ? static_cast<off_t>(SlowFile::kBytes) : 0;
  return info;
}

void look_up(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent != FUSE_ROOT_ID || std::strcmp(name, kName) != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = kFile;
  entry.attr = attributes(kFile);
  entry.attr_timeout = entry.entry_timeout = kKeptSeconds;
  fuse_reply_entry(request, &entry);
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  const struct stat info = attributes(inode);
  fuse_reply_attr(request, &info, kKeptSeconds);
}

void open_file(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  file->direct_io = 1;
  fuse_reply_open(request, file);
}

void read_file_later(fuse_req_t request, fuse_ino_t, std::size_t bytes, off_t, fuse_file_info*) {
  Server& server = server_of(request);
  server.reads.push_back({request, bytes});
  server.test->signal();
}

std::size_t answer_all(Server& server) {
  const std::size_t count = server.reads.size();
  for (const WaitingRead& read : server.reads) {
    const std::vector<char> poison(read.bytes, static_cast<char>(SlowFile::kPoison));
    fuse_reply_buf(read.request, poison.data(), poison.size());
  }
  server.reads.clear();
  return count;
}

void serve(Link& test, const std::string& mount) {
  Server server;
  server.test = &test;
  fuse_lowlevel_ops operations{};
  operations.lookup = look_up;
  operations.getattr = get_attributes;
  operations.open = open_file;
  operations.read = read_file_later;
  char name[] = "zeropool-slow-file";
  char* arguments[] = {name, nullptr};
  fuse_args parsed = FUSE_ARGS_INIT(1, arguments);
  fuse_session* session = fuse_session_new(&parsed, &operations, sizeof(operations), &server);
  expect(session != nullptr && fuse_session_mount(session, mount.c_str()) == 0,
         "the slow file cannot be mounted");
  test.signal();
  fuse_buf buffer{};
  pollfd events[] = {{fuse_session_fd(session), POLLIN, 0}, {test.fd(), POLLIN, 0}};
  for (;;) {
    if (::poll(events, 2, -1) < 0) continue;
    if (events[1].revents != 0) {
      test.await();
      test.send(answer_all(server));
    }
    if (events[0].revents == 0) continue;
    const int got = fuse_session_receive_buf(session, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) return;
    fuse_session_process_buf(session, &buffer);
  }
}

}  // namespace

std::string SlowFile::why_not() {
  const int fuse = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse < 0) return std::string("/dev/fuse: ") + std::strerror(errno);
  ::close(fuse);
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return std::string("no mount namespace: ") + std::strerror(errno);
  }
  return {};
}

SlowFile::SlowFile() {
  if (::mkdir(mount().c_str(), 0700) != 0) throw std::runtime_error("mkdir " + mount());
  server_ = std::make_unique<ChildProcess>([this](Link& test) { serve(test, mount()); });
  server_->link().await();
}

SlowFile::~SlowFile() {
  server_.reset();
  ::umount2(mount().c_str(), MNT_DETACH);
}

void SlowFile::await_reads(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) server_->link().await();
}

std::size_t SlowFile::answer() {
  server_->link().signal();
  return server_->link().receive<std::size_t>();
}

}  // namespace zeropool::testing
