#pragma once
// Users and their passwords, as bcrypt hashes; checked without a bcrypt at every scrape.
//
// Thread safety: any thread.
// Invariants:
//   A1  Whether a user exists does not show in the time of an answer: an unknown one costs a bcrypt, too.
//   A2  Remembered is a keyed digest of user, hash and password, never a password: the last good one of each user, and
//       some bad ones. Guesses push out other guesses, never what was good. The key is this object's own.

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace zeropool::daemon {

// What is wrong with `hash` as a bcrypt hash ($2a$, $2b$ or $2y$) of a cost that a scrape can bear; empty when nothing is.
std::string bcrypt_fault(std::string_view hash);

class BasicAuth {
 public:
  // By user; each hash without fault.
  explicit BasicAuth(std::map<std::string, std::string> hashes);

  // `authorization`: the header's value.
  bool allows(std::string_view authorization);
  std::uint64_t checks() const;  // bcrypts so far

 private:
  using Digest = std::array<unsigned char, 32>;
  static constexpr std::size_t kRememberedBad = 64;

  Digest digest(const std::string& user, const std::string& hash,
                const std::string& password) const;

  const std::map<std::string, std::string> hashes_;
  std::array<unsigned char, 32> key_{};
  mutable std::mutex mutex_;  // over what follows
  std::map<std::string, Digest> good_;
  std::vector<Digest> bad_;
  std::size_t next_bad_ = 0;
  std::uint64_t checks_ = 0;
};

}  // namespace zeropool::daemon
