#pragma once
// Errors: a code for programs, a sentence for people.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include <zeropool/lib/error_code.hpp>

namespace zeropool {
inline namespace v1 {

using lib::ErrorCode;

// What went wrong. Code ok: nothing.
struct Error {
  // For programs.
  ErrorCode code = ErrorCode::ok;
  std::string sentence;  // what failed, which limit, what to do

  const char* name() const noexcept { return lib::error_name(code); }  // "budget_exhausted"
};

// A value, or the error that took its place. Throws nothing by itself; value() and the operators of a failed
// one end the program with the sentence.
template <typename T>
class Result {
 public:
  // A success.
  Result(T value) noexcept : ok_(true) { ::new (&storage_.value) T(std::move(value)); }
  // A failure.
  Result(Error error) noexcept : ok_(false) { ::new (&storage_.error) Error(std::move(error)); }
  // Takes over the value or the error of the other one.
  Result(Result&& other) noexcept : ok_(other.ok_) {
    if (ok_) {
      ::new (&storage_.value) T(std::move(other.storage_.value));
    } else {
      ::new (&storage_.error) Error(std::move(other.storage_.error));
    }
  }
  // Takes over the value or the error of the other one.
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      ::new (this) Result(std::move(other));
    }
    return *this;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() {
    if (ok_) {
      storage_.value.~T();
    } else {
      storage_.error.~Error();
    }
  }

  // Whether there is a value.
  explicit operator bool() const noexcept { return ok_; }
  // Whether there is a value.
  bool has_value() const noexcept { return ok_; }
  // The value; of a failure it ends the program with the sentence.
  T& value() & noexcept { return checked(); }
  // The value, to be moved from; of a failure it ends the program with the sentence.
  T&& value() && noexcept { return std::move(checked()); }
  // As value().
  T& operator*() noexcept { return checked(); }
  // As value().
  T* operator->() noexcept { return &checked(); }
  // The error; an empty one (kOk) of a value.
  Error error() const { return ok_ ? Error{} : storage_.error; }

 private:
  T& checked() noexcept {
    if (!ok_) {
      std::fprintf(stderr, "zeropool: %s\n", storage_.error.sentence.c_str());
      std::abort();
    }
    return storage_.value;
  }

  union Storage {
    Storage() noexcept {}
    ~Storage() {}
    T value;
    Error error;
  } storage_;
  bool ok_;
};

}  // namespace v1
}  // namespace zeropool
