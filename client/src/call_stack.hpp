#pragma once
// Where in the program the calling thread is: the addresses of the calls that led here, without those in this library.
//
// Thread safety: any thread. Takes the dynamic loader's lock for a moment: not for signal handlers.

#include <cstdint>

namespace zeropool::client {

// Up to `most` of them, the innermost first; 0 where there is nothing to unwind by.
std::uint32_t call_stack(std::uint64_t* frames, std::uint32_t most) noexcept;

}  // namespace zeropool::client
