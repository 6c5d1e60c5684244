// By the compiler's own unwinder, which is linked in: backtrace() of glibc would load libgcc_s at its first call.

#include "call_stack.hpp"

#include <unwind.h>

// Where this library begins and how far it goes: the linker's.
extern "C" {
extern const char zp_image_begin[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
extern const char zp_image_end[] __asm__("_end") __attribute__((visibility("hidden")));
}

namespace zeropool::client {
namespace {

struct Walk {
  std::uint64_t* frames;
  std::uint32_t most;
  std::uint32_t count = 0;
  bool outside = false;  // of this library: from the first frame on that is
};

bool is_ours(std::uint64_t address) noexcept {
  return address >= reinterpret_cast<std::uintptr_t>(zp_image_begin) &&
         address < reinterpret_cast<std::uintptr_t>(zp_image_end);
}

_Unwind_Reason_Code next_frame(_Unwind_Context* context, void* argument) noexcept {
  Walk& walk = *static_cast<Walk*>(argument);
  int before = 0;
  std::uint64_t address = _Unwind_GetIPInfo(context, &before);
  if (address == 0) return _URC_END_OF_STACK;
  if (before == 0)
    --address;  // the call, not what it returns to: that may be another line, or another function
  walk.outside = walk.outside || !is_ours(address);
  if (!walk.outside) return _URC_NO_REASON;
  walk.frames[walk.count++] = address;
  return walk.count < walk.most ? _URC_NO_REASON : _URC_END_OF_STACK;
}

}  // namespace

std::uint32_t call_stack(std::uint64_t* frames, std::uint32_t most) noexcept {
  if (most == 0) return 0;
  Walk walk{frames, most};
  _Unwind_Backtrace(&next_frame, &walk);
  return walk.count;
}

}  // namespace zeropool::client
