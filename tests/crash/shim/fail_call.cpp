// Preloaded: stands before libc's wrappers of system calls, and lets one of them fail as the plan says.
//
// Thread safety: any thread's. What libc calls within itself does not pass here.
// Without a plan everything passes.

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "fail_plan.hpp"

namespace {

using zeropool::testing::CallKind;
using zeropool::testing::FailPlan;

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// Not by the wrappers: they come back here.
FailPlan* map_plan() {
  const char* path = std::getenv(zeropool::testing::kFailPlanVariable);
  if (path == nullptr) return nullptr;
  static const auto real_syscall = next<long(long, ...)>("syscall");
  const long fd = real_syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  const long at =
      real_syscall(SYS_mmap, nullptr, sizeof(FailPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
  real_syscall(SYS_close, fd);
  return at == -1 ? nullptr : reinterpret_cast<FailPlan*>(at);
}

// Whether this is the call that fails; `error` says how.
bool fails(CallKind kind, int& error) {
  static FailPlan* const plan = map_plan();
  if (plan == nullptr || plan->kind.load() != static_cast<std::uint32_t>(kind)) return false;
  if (plan->seen.fetch_add(1) + 1 != plan->nth.load()) return false;
  error = plan->error.load();
  plan->hits.fetch_add(1);
  return true;
}

template <typename Outcome, typename Function, typename... Arguments>
Outcome call(CallKind kind, Outcome failure, Function* real, Arguments... arguments) {
  int error = 0;
  if (fails(kind, error)) {
    errno = error;
    return failure;
  }
  return real(arguments...);
}

bool is_file(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

CallKind kind_of_syscall(long number) {
  switch (number) {
    case SYS_pidfd_open: return CallKind::kPidfdOpen;
    case SYS_membarrier: return CallKind::kMembarrier;
    case SYS_futex: return CallKind::kFutex;
    default: return CallKind::kNone;
  }
}

int open_mode(int flags, std::va_list& arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, int) : 0;
}

}  // namespace

extern "C" {

void* mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  static const auto real = next<decltype(mmap)>("mmap");
  return call(CallKind::kMmap, MAP_FAILED, real, at, bytes, protection, flags, fd, offset);
}
void* mmap64(void* at, size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(at, bytes, protection, flags, fd, offset);
}
int madvise(void* at, size_t bytes, int advice) noexcept {
  static const auto real = next<decltype(madvise)>("madvise");
  return call(CallKind::kMadvise, -1, real, at, bytes, advice);
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  static const auto real = next<decltype(fallocate)>("fallocate");
  return call(CallKind::kFallocate, -1, real, fd, mode, offset, bytes);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  return fallocate(fd, mode, offset, bytes);
}
int ftruncate(int fd, off_t bytes) noexcept {
  static const auto real = next<decltype(ftruncate)>("ftruncate");
  return call(CallKind::kFtruncate, -1, real, fd, bytes);
}
int ftruncate64(int fd, off64_t bytes) noexcept { return ftruncate(fd, bytes); }
int memfd_create(const char* name, unsigned flags) noexcept {
  static const auto real = next<decltype(memfd_create)>("memfd_create");
  return call(CallKind::kMemfdCreate, -1, real, name, flags);
}
int eventfd(unsigned count, int flags) noexcept {
  static const auto real = next<decltype(eventfd)>("eventfd");
  return call(CallKind::kEventfd, -1, real, count, flags);
}
int eventfd_write(int fd, eventfd_t value) {
  static const auto real = next<decltype(eventfd_write)>("eventfd_write");
  return call(CallKind::kEventfdWrite, -1, real, fd, value);
}
int timerfd_create(clockid_t clock, int flags) noexcept {
  static const auto real = next<decltype(timerfd_create)>("timerfd_create");
  return call(CallKind::kTimerfdCreate, -1, real, clock, flags);
}
int signalfd(int fd, const sigset_t* mask, int flags) noexcept {
  static const auto real = next<decltype(signalfd)>("signalfd");
  return call(CallKind::kSignalfd, -1, real, fd, mask, flags);
}
int epoll_create1(int flags) noexcept {
  static const auto real = next<decltype(epoll_create1)>("epoll_create1");
  return call(CallKind::kEpollCreate, -1, real, flags);
}
int epoll_ctl(int epoll, int what, int fd, epoll_event* event) noexcept {
  static const auto real = next<decltype(epoll_ctl)>("epoll_ctl");
  // Taking a descriptor out needs nothing that could be lacking.
  if (what == EPOLL_CTL_DEL) return real(epoll, what, fd, event);
  return call(CallKind::kEpollCtl, -1, real, epoll, what, fd, event);
}
int epoll_wait(int epoll, epoll_event* events, int most, int timeout) {
  static const auto real = next<decltype(epoll_wait)>("epoll_wait");
  return call(CallKind::kEpollWait, -1, real, epoll, events, most, timeout);
}
int socket(int domain, int type, int protocol) noexcept {
  static const auto real = next<decltype(socket)>("socket");
  return call(CallKind::kSocket, -1, real, domain, type, protocol);
}
int socketpair(int domain, int type, int protocol, int ends[2]) noexcept {
  static const auto real = next<decltype(socketpair)>("socketpair");
  return call(CallKind::kSocketpair, -1, real, domain, type, protocol, ends);
}
int bind(int fd, const sockaddr* address, socklen_t bytes) noexcept {
  static const auto real = next<decltype(bind)>("bind");
  return call(CallKind::kBind, -1, real, fd, address, bytes);
}
int listen(int fd, int backlog) noexcept {
  static const auto real = next<decltype(listen)>("listen");
  return call(CallKind::kListen, -1, real, fd, backlog);
}
int connect(int fd, const sockaddr* address, socklen_t bytes) {
  static const auto real = next<decltype(connect)>("connect");
  return call(CallKind::kConnect, -1, real, fd, address, bytes);
}
int accept4(int fd, sockaddr* address, socklen_t* bytes, int flags) {
  static const auto real = next<decltype(accept4)>("accept4");
  return call(CallKind::kAccept, -1, real, fd, address, bytes, flags);
}
int getsockopt(int fd, int level, int option, void* value, socklen_t* bytes) noexcept {
  static const auto real = next<decltype(getsockopt)>("getsockopt");
  return call(CallKind::kGetsockopt, -1, real, fd, level, option, value, bytes);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
  static const auto real = next<decltype(recvmsg)>("recvmsg");
  return call(CallKind::kRecvmsg, ssize_t{-1}, real, fd, message, flags);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = next<decltype(sendmsg)>("sendmsg");
  return call(CallKind::kSendmsg, ssize_t{-1}, real, fd, message, flags);
}
ssize_t read(int fd, void* bytes, size_t count) {
  static const auto real = next<decltype(read)>("read");
  int error = 0;
  if (!fails(CallKind::kRead, error)) return real(fd, bytes, count);
  if (error == 0) return real(fd, bytes, is_file(fd) && count > 1 ? count / 2 : count);
  errno = error;
  return -1;
}
ssize_t write(int fd, const void* bytes, size_t count) {
  static const auto real = next<decltype(write)>("write");
  return call(CallKind::kWrite, ssize_t{-1}, real, fd, bytes, count);
}
int open(const char* path, int flags, ...) {
  static const auto real = next<int(const char*, int, ...)>("open");
  std::va_list arguments;
  va_start(arguments, flags);
  const int mode = open_mode(flags, arguments);
  va_end(arguments);
  return call(CallKind::kOpen, -1, real, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const int mode = open_mode(flags, arguments);
  va_end(arguments);
  return open(path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  static const auto real = next<decltype(fopen)>("fopen");
  return call<FILE*>(CallKind::kFopen, nullptr, real, path, mode);
}
FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }
int fcntl(int fd, int command, ...) {
  static const auto real = next<int(int, int, ...)>("fcntl");
  std::va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return call(CallKind::kFcntl, -1, real, fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return fcntl(fd, command, argument);
}
int flock(int fd, int operation) noexcept {
  static const auto real = next<decltype(flock)>("flock");
  return call(CallKind::kFlock, -1, real, fd, operation);
}
int fchmod(int fd, mode_t mode) noexcept {
  static const auto real = next<decltype(fchmod)>("fchmod");
  return call(CallKind::kFchmod, -1, real, fd, mode);
}
int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = next<decltype(mkdir)>("mkdir");
  return call(CallKind::kMkdir, -1, real, path, mode);
}
int poll(pollfd* entries, nfds_t count, int timeout) {
  static const auto real = next<decltype(poll)>("poll");
  return call(CallKind::kPoll, -1, real, entries, count, timeout);
}
ssize_t getrandom(void* bytes, size_t count, unsigned flags) {
  static const auto real = next<decltype(getrandom)>("getrandom");
  return call(CallKind::kGetrandom, ssize_t{-1}, real, bytes, count, flags);
}
long set_mempolicy(int mode, const unsigned long* nodes, unsigned long most) {
  static const auto real = next<long(int, const unsigned long*, unsigned long)>("set_mempolicy");
  return call(CallKind::kSetMempolicy, -1L, real, mode, nodes, most);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  static const auto real = next<decltype(pthread_create)>("pthread_create");
  int error = 0;
  if (fails(CallKind::kPthreadCreate, error)) return error;
  return real(thread, attributes, start, argument);
}
long syscall(long number, ...) noexcept {
  static const auto real = next<long(long, ...)>("syscall");
  std::va_list arguments;
  va_start(arguments, number);
  long words[6];
  for (long& word : words) word = va_arg(arguments, long);
  va_end(arguments);
  const CallKind kind = kind_of_syscall(number);
  int error = 0;
  if (kind != CallKind::kNone && fails(kind, error)) {
    errno = error;
    return -1;
  }
  return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // extern "C"
