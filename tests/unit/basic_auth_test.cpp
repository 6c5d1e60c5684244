#include "daemon/basic_auth.hpp"

#include <crypt.h>
#include <string>

#include <doctest/doctest.h>

namespace zeropool::daemon {
namespace {

std::string bcrypt(const std::string& password, const char* prefix = "$2y$") {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  REQUIRE(::crypt_gensalt_rn(prefix, 4, "0123456789abcdef", 16, setting, sizeof setting) !=
          nullptr);
  crypt_data scratch{};
  return ::crypt_r(password.c_str(), setting, &scratch);
}

std::string basic(const std::string& pair) {
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text = "Basic ";
  for (std::size_t i = 0; i < pair.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (i + j < pair.size() ? static_cast<unsigned char>(pair[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += i + j > pair.size() ? '=' : kLetters[bits >> (18 - 6 * j) & 63U];
    }
  }
  return text;
}

}  // namespace

TEST_CASE("who knows the password is let in, and nobody else") {
  BasicAuth auth({{"prometheus", bcrypt("correct horse")}, {"empty", bcrypt("", "$2b$")}});
  CHECK(auth.allows(basic("prometheus:correct horse")));
  CHECK(auth.allows("basic" + basic("prometheus:correct horse").substr(5)));
  CHECK(auth.allows(basic("empty:")));
  for (const std::string& pair :
       {std::string("prometheus:wrong"), std::string("prometheus:"), std::string("prometheus"),
        std::string("nobody:correct horse"), std::string("empty:x"), std::string(":"),
        std::string(), std::string("prometheus:correct horse\0", 25),
        std::string("prometheus\0:correct horse", 25)}) {
    CAPTURE(pair);
    CHECK_FALSE(auth.allows(basic(pair)));
  }
  for (const char* header :
       {"", "Basic", "Basic ", "Basic !!!!", "Bearer abc", "Basic =", "Basic Og"}) {
    CAPTURE(header);
    CHECK_FALSE(auth.allows(header));
  }
  CHECK_FALSE(BasicAuth({}).allows(basic("a:b")));
}

TEST_CASE("a scrape each second costs one bcrypt, and guesses do not push out what is good") {
  BasicAuth auth({{"prometheus", bcrypt("good")}});
  for (int i = 0; i < 100; ++i) REQUIRE(auth.allows(basic("prometheus:good")));
  CHECK(auth.checks() == 1);
  for (int i = 0; i < 200; ++i)
    REQUIRE_FALSE(auth.allows(basic("prometheus:" + std::to_string(i))));
  CHECK(auth.checks() == 201);
  for (int i = 0; i < 50; ++i) REQUIRE_FALSE(auth.allows(basic("prometheus:199")));
  CHECK(auth.checks() == 201);
  REQUIRE(auth.allows(basic("prometheus:good")));
  CHECK(auth.checks() == 201);
}

TEST_CASE("an unknown user costs a bcrypt like a known one") {
  BasicAuth auth({{"prometheus", bcrypt("good")}});
  CHECK_FALSE(auth.allows(basic("nobody:good")));
  CHECK(auth.checks() == 1);
  CHECK_FALSE(auth.allows(basic("nobody:good")));
  CHECK(auth.allows(basic("prometheus:good")));
}

TEST_CASE("only bcrypt hashes of a cost that a scrape can bear are taken") {
  const std::string good = bcrypt("x");
  CHECK(bcrypt_fault(good).empty());
  CHECK(bcrypt_fault(bcrypt("x", "$2a$")).empty());
  CHECK_FALSE(bcrypt_fault("").empty());
  CHECK_FALSE(bcrypt_fault("plain").empty());
  CHECK_FALSE(bcrypt_fault(good + "x").empty());
  CHECK_FALSE(bcrypt_fault("$6$rounds=5000$" + good.substr(15)).empty());
  CHECK_FALSE(bcrypt_fault("$2x$" + good.substr(4)).empty());
  CHECK_FALSE(bcrypt_fault("$2y$99$" + good.substr(7)).empty());
  CHECK_FALSE(bcrypt_fault("$2y$15$" + good.substr(7)).empty());
  CHECK_FALSE(bcrypt_fault(good.substr(0, 40) + ":" + good.substr(41)).empty());
}

}  // namespace zeropool::daemon
