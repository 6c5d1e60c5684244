#include "thread_state.hpp"

#include <cstring>
#include <pthread.h>
#include <sys/mman.h>

#include <zeropool/lib/segment.hpp>

#include "last_error.hpp"

namespace {
// What threads without caches point at. Never written.
zeropool::v1::detail::ThreadState no_caches{};
}  // namespace

extern "C" {
// 16 bytes of initial-exec TLS in all: the state, and whether the exit hook has run.
__attribute__((visibility("default"))) __thread zeropool::v1::detail::ThreadState* zp_v1_thread
    __attribute__((tls_model("initial-exec"))) = &no_caches;
}

namespace zeropool::client {
namespace {

__thread bool exit_hook_ran __attribute__((tls_model("initial-exec"))) = false;

void (*exit_hook)(OwnThread& thread) noexcept = nullptr;
pthread_key_t exit_key;
pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
bool exit_key_made = false;

constexpr std::size_t kStateBytes = (sizeof(OwnThread) + 4095) / 4096 * 4096;

void thread_exits(void* value) {
  auto* thread = static_cast<OwnThread*>(value);
  if (&thread->hot != zp_v1_thread) return;
  if (thread->set_up != 0 && exit_hook != nullptr) exit_hook(*thread);
  exit_hook_ran = true;
  zp_v1_thread = &no_caches;
  ::munmap(thread, kStateBytes);
}

void make_exit_key() { exit_key_made = pthread_key_create(&exit_key, thread_exits) == 0; }

}  // namespace

OwnThread* own_thread_if_any() noexcept {
  if (zp_v1_thread == &no_caches) return nullptr;
  return reinterpret_cast<OwnThread*>(zp_v1_thread);
}

OwnThread* own_thread() noexcept {
  OwnThread* thread = own_thread_if_any();
  if (thread != nullptr) {
    thread->set_up = 1;  // again after a fork
    return thread;
  }
  if (exit_hook_ran) return nullptr;
  pthread_once(&exit_key_once, make_exit_key);
  if (!exit_key_made) return nullptr;
  void* memory =
      ::mmap(nullptr, kStateBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (::madvise(memory, kStateBytes, MADV_WIPEONFORK) != 0) {
    ::munmap(memory, kStateBytes);
    return nullptr;
  }
  thread = static_cast<OwnThread*>(memory);
  thread->set_up = 1;
  if (pthread_setspecific(exit_key, thread) != 0) {
    ::munmap(memory, kStateBytes);
    return nullptr;
  }
  zp_v1_thread = &thread->hot;
  return thread;
}

void on_thread_exit(void (*hook)(OwnThread& thread) noexcept) noexcept { exit_hook = hook; }

namespace {
// Where a thread without a state of its own keeps its error: only the code is certain to be its own.
OwnThread stateless_thread{};
}  // namespace

int fail(ErrorCode code, const std::string& sentence) noexcept {
  OwnThread* thread = own_thread();
  if (thread == nullptr) thread = &stateless_thread;
  thread->error_code = static_cast<std::uint32_t>(code);
  const std::size_t length = sentence.size() < sizeof(thread->sentence) - 1
                                 ? sentence.size()
                                 : sizeof(thread->sentence) - 1;
  std::memcpy(thread->sentence, sentence.data(), length);
  thread->sentence[length] = 0;
  return static_cast<int>(code);
}

}  // namespace zeropool::client

extern "C" {

const char* zp_last_error(void) {
  const zeropool::client::OwnThread* thread = zeropool::client::own_thread_if_any();
  return thread == nullptr ? "" : thread->sentence;
}

int zp_last_error_code(void) {
  const zeropool::client::OwnThread* thread = zeropool::client::own_thread_if_any();
  return thread == nullptr ? 0 : static_cast<int>(thread->error_code);
}

const char* zp_strerror(int code) {
  return zeropool::lib::error_name(static_cast<zeropool::lib::ErrorCode>(code));
}

}  // extern "C"
