// What the examples of README.md and docs/*.md leave out: the reader's own functions, and what stands open.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory_resource>
#include <span>
#include <string>
#include <vector>

#include <zeropool/async.hpp>
#include <zeropool/memory_resource.hpp>
#include <zeropool/object_pool.hpp>
#include <zeropool/typed_pool.hpp>
#include <zeropool/zeropool.hpp>

namespace docs {

// A coroutine that nobody waits for.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

inline void report(const std::string&) {}
inline void fill(std::span<std::byte>) {}
template <typename T>
void send(const T&) {}
template <typename T>
void use(const T&) {}

}  // namespace docs
