#include "daemon/web_config.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace zeropool::daemon {
namespace {

constexpr const char* kHash = "$2y$10$abcdefghijklmnopqrstuuKVnZ6Hj0PTXNEIWnbOkFRxgTY1.4JSa";

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/zeropool-web-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name) << text;
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The only error, which must have all of `parts`.
void check_refused(const std::string& text, const std::vector<std::string>& parts) {
  CAPTURE(text);
  const Folder folder;
  const WebConfigOutcome outcome = load_web_config(folder.write("web.yml", text));
  CHECK_FALSE(outcome.config);
  REQUIRE(outcome.errors.size() == 1);
  const std::string sentence = outcome.errors[0].to_string();
  CAPTURE(sentence);
  for (const std::string& part : parts) CHECK(sentence.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("users and headers are read, and an empty file secures nothing") {
  const Folder folder;
  const WebConfigOutcome outcome = load_web_config(folder.write(
      "web.yml", std::string("basic_auth_users:\n  prometheus: ") + kHash +
                     "\nhttp_server_config:\n  http2: true\n  headers: {X-Frame-Options: deny}\n"));
  REQUIRE(outcome.config);
  CHECK(outcome.config->users.at("prometheus") == kHash);
  CHECK(outcome.config->headers.at("X-Frame-Options") == "deny");
  CHECK(outcome.config->authenticates());
  CHECK(outcome.files == std::vector<std::string>{folder.path() + "/web.yml"});
  const WebConfigOutcome empty = load_web_config(folder.write("empty.yml", "# nothing\n"));
  REQUIRE(empty.config);
  CHECK(*empty.config == WebConfig{});
  CHECK_FALSE(empty.config->authenticates());
}

TEST_CASE("what is wrong is refused with its place and what is allowed") {
  check_refused("basic_auth_users: [a]\n", {"web.yml:1:19", "basic_auth_users", "map"});
  check_refused("basic_auth_users:\n  me: secret\n", {":2:7", "basic_auth_users.me", "bcrypt"});
  check_refused("basic_auth_users:\n  'a:b': " + std::string(kHash), {"colon"});
  check_refused("tls_server_confg: {}\n", {"'tls_server_config'?"});
  check_refused("tls_server_config: {cert_file: a.pem}\n", {"a.pem cannot be opened"});
  check_refused("tls_server_config: {}\n", {"both cert_file and key_file"});
  check_refused("tls_server_config: {min_version: TLS9}\n", {"TLS12"});
  check_refused("tls_server_config: {client_auth_type: yes}\n", {"RequireAndVerifyClientCert"});
  check_refused("tls_server_config: {cipher_suites: [x]}\n", {"cipher_suites"});
  check_refused("http_server_config: {headers: {Server: x}}\n",
                {"http_server_config.headers.Server"});
  check_refused("http_server_config: {headers: {X-Frame-Options: \"a\\nb\"}}\n",
                {"X-Frame-Options"});
  check_refused("a: [\n", {"web.yml:"});
  CHECK(load_web_config("/nowhere/web.yml").errors.size() == 1);
  CHECK(load_web_config("/dev/null").errors.size() == 1);
}

TEST_CASE("a password that is no hash is not repeated in the message") {
  const Folder folder;
  const WebConfigOutcome outcome =
      load_web_config(folder.write("web.yml", "basic_auth_users: {me: hunter2}\n"));
  REQUIRE(outcome.errors.size() == 1);
  CHECK(outcome.errors[0].to_string().find("hunter2") == std::string::npos);
}

TEST_CASE("certificate and key must be PEM and belong together") {
  const Folder folder;
  folder.write("cert.pem", "no certificate");
  folder.write("key.pem", "no key");
  const WebConfigOutcome outcome = load_web_config(folder.write(
      "web.yml",
      "tls_server_config: {cert_file: cert.pem, key_file: " + folder.path() + "/key.pem}\n"));
  REQUIRE(outcome.errors.size() == 1);
  CHECK(outcome.errors[0].to_string().find("are not a PEM certificate and its key") !=
        std::string::npos);
  CHECK(outcome.files.size() == 3);
  CHECK(outcome.files[1] == folder.path() + "/cert.pem");
}

}  // namespace zeropool::daemon
