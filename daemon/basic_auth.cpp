#include "daemon/basic_auth.hpp"

#include <algorithm>
#include <crypt.h>
#include <memory>
#include <optional>
#include <stdexcept>
#include <strings.h>
#include <utility>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

namespace zeropool::daemon {
namespace {

constexpr std::size_t kBcryptBytes = 60;  // $2y$10$, 22 of salt, 31 of hash
constexpr int kMinCost = 4;
constexpr int kMaxCost = 14;  // about a second
constexpr std::string_view kAlphabet =
    "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Credentials {
  std::string user;
  std::string password;
};

std::optional<Credentials> read_credentials(std::string_view header) {
  constexpr std::string_view kScheme = "Basic ";
  if (header.size() < kScheme.size() ||
      ::strncasecmp(header.data(), kScheme.data(), kScheme.size()) != 0) {
    return std::nullopt;
  }
  header.remove_prefix(kScheme.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  std::string text(header);
  const gnutls_datum_t encoded{reinterpret_cast<unsigned char*>(text.data()),
                               static_cast<unsigned>(text.size())};
  gnutls_datum_t decoded{};
  if (text.empty() || gnutls_base64_decode2(&encoded, &decoded) != GNUTLS_E_SUCCESS)
    return std::nullopt;
  const std::string pair(reinterpret_cast<const char*>(decoded.data), decoded.size);
  gnutls_free(decoded.data);
  const std::size_t colon = pair.find(':');
  if (colon == std::string::npos) return std::nullopt;
  return Credentials{pair.substr(0, colon), pair.substr(colon + 1)};
}

bool bcrypt_matches(const std::string& hash, const std::string& password) {
  if (password.find('\0') != std::string::npos) return false;
  const auto scratch = std::make_unique<crypt_data>();  // 32 KiB
  const char* result = ::crypt_r(password.c_str(), hash.c_str(), scratch.get());
  return result != nullptr && std::string_view(result).size() == hash.size() &&
         gnutls_memcmp(result, hash.data(), hash.size()) == 0;
}

}  // namespace

std::string bcrypt_fault(std::string_view hash) {
  const bool prefix = hash.size() == kBcryptBytes && hash[0] == '$' && hash[1] == '2' &&
                      (hash[2] == 'a' || hash[2] == 'b' || hash[2] == 'y') && hash[3] == '$' &&
                      is_digit(hash[4]) && is_digit(hash[5]) && hash[6] == '$';
  if (!prefix || hash.substr(7).find_first_not_of(kAlphabet) != std::string_view::npos) {
    return "is no bcrypt hash, as htpasswd -nBC 10 \"\" makes them";
  }
  const int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
  if (cost < kMinCost || cost > kMaxCost) {
    return "has a cost of " + std::to_string(cost) + ", allowed are " + std::to_string(kMinCost) +
           " to " + std::to_string(kMaxCost);
  }
  return {};
}

BasicAuth::BasicAuth(std::map<std::string, std::string> hashes) : hashes_(std::move(hashes)) {
  if (gnutls_rnd(GNUTLS_RND_KEY, key_.data(), key_.size()) != GNUTLS_E_SUCCESS) {
    throw std::runtime_error("the system has no random numbers");
  }
}

BasicAuth::Digest BasicAuth::digest(const std::string& user, const std::string& hash,
                                    const std::string& password) const {
  const std::string text = user + '\0' + hash + '\0' + password;
  Digest result{};
  if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key_.data(), key_.size(), text.data(), text.size(),
                       result.data()) != GNUTLS_E_SUCCESS) {
    throw std::runtime_error("gnutls has no SHA-256");
  }
  return result;
}

bool BasicAuth::allows(std::string_view authorization) {
  const std::optional<Credentials> given = read_credentials(authorization);
  if (!given || hashes_.empty()) return false;
  const auto found = hashes_.find(given->user);
  const bool known = found != hashes_.end();
  const std::string& hash = known ? found->second : hashes_.begin()->second;  // A1
  const Digest seen = digest(given->user, hash, given->password);
  {
    const std::lock_guard lock(mutex_);
    const auto good = good_.find(given->user);
    if (good != good_.end() && gnutls_memcmp(good->second.data(), seen.data(), seen.size()) == 0) {
      return true;
    }
    if (std::find(bad_.begin(), bad_.end(), seen) != bad_.end()) return false;
    ++checks_;
  }
  const bool matches = bcrypt_matches(hash, given->password) && known;
  const std::lock_guard lock(mutex_);
  if (matches) {
    good_[given->user] = seen;
  } else if (bad_.size() < kRememberedBad) {
    bad_.push_back(seen);
  } else {
    bad_[next_bad_++ % kRememberedBad] = seen;
  }
  return matches;
}

std::uint64_t BasicAuth::checks() const {
  const std::lock_guard lock(mutex_);
  return checks_;
}

}  // namespace zeropool::daemon
