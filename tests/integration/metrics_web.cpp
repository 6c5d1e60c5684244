// /metrics with TLS, passwords and certificates of clients, as real clients see it.

#include <crypt.h>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;

namespace {

// As htpasswd -nbBC 4 makes it.
std::string hash_of(const std::string& password) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  REQUIRE(::crypt_gensalt_rn("$2y$", 4, "0123456789abcdef", 16, setting, sizeof setting) !=
          nullptr);
  crypt_data scratch{};
  return ::crypt_r(password.c_str(), setting, &scratch);
}

CommandResult command(std::vector<std::string> arguments) {
  ProgramOptions options;
  options.arguments = std::move(arguments);
  return run_command(options);
}

// A key and a certificate of its own, for 127.0.0.1 and for a client.
void make_certificate(const std::string& path) {
  const CommandResult made = command({"openssl",
                                      "req",
                                      "-x509",
                                      "-newkey",
                                      "ec",
                                      "-pkeyopt",
                                      "ec_paramgen_curve:P-256",
                                      "-nodes",
                                      "-days",
                                      "2",
                                      "-subj",
                                      "/CN=zeropool test",
                                      "-addext",
                                      "subjectAltName=IP:127.0.0.1",
                                      "-addext",
                                      "extendedKeyUsage=serverAuth,clientAuth",
                                      "-keyout",
                                      path + ".key",
                                      "-out",
                                      path + ".pem"});
  REQUIRE_MESSAGE(made.exit_code == 0, made.err);
}

struct Secured {
  TemporaryFolder folder;
  DaemonProcess daemon;
  std::string path(const std::string& name) const { return folder.path() + "/" + name; }
  explicit Secured(const std::string& web)
      : daemon((write_file(path("web.yml"), prepared(web)),
                "budget: 16MiB\nmetrics: {listen: [\"127.0.0.1:0\"], web_config: " +
                    path("web.yml") + "}\n")) {}

  std::string prepared(const std::string& web) const {
    make_certificate(path("server"));
    make_certificate(path("client"));
    make_certificate(path("stranger"));
    return web;
  }
  // The status that curl got; 0: no answer.
  int get(std::vector<std::string> more, const std::string& page = "/metrics") const {
    std::string url = daemon.metrics_url();
    url.resize(url.rfind('/'));
    std::vector<std::string> arguments = {"curl",     "--silent",  "--max-time",  "20",
                                          "--output", "/dev/null", "--write-out", "%{http_code}"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(url + page);
    return std::atoi(command(arguments).out.c_str());
  }
  bool becomes(int status, const std::vector<std::string>& more) const {
    return eventually([&] { return get(more) == status; }, 30s);
  }
  bool says(const std::string& words) const {
    return eventually([&] { return daemon.log().find(words) != std::string::npos; }, 30s);
  }
};

}  // namespace

TEST_CASE("TLS and passwords: who has both is served; a change of the file holds from then on") {
  const std::string tls = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n";
  const std::string one = "basic_auth_users: {prometheus: " + hash_of("correct horse") + "}\n";
  const std::string other = "basic_auth_users: {prometheus: " + hash_of("battery staple") + "}\n";
  Secured secured(tls + one);
  CHECK(secured.daemon.metrics_url().rfind("https://127.0.0.1:", 0) == 0);
  const std::vector<std::string> trust = {"--cacert", secured.path("server.pem")};
  const auto as = [&](const std::string& pair) {
    return std::vector<std::string>{"--cacert", secured.path("server.pem"), "--user", pair};
  };
  CHECK(secured.get(as("prometheus:correct horse")) == 200);
  CHECK(secured.get(as("prometheus:correct horse"), "/-/ready") == 200);
  CHECK(secured.get(as("prometheus:wrong")) == 401);
  CHECK(secured.get(as("nobody:correct horse")) == 401);
  CHECK(secured.get(trust) == 401);
  CHECK(secured.get(trust, "/-/healthy") == 401);
  CHECK(secured.get({"--user", "prometheus:correct horse"}) == 0);  // it trusts nobody
  std::vector<std::string> old = as("prometheus:correct horse");
  old.insert(old.end(), {"--tls-max", "1.1"});
  CHECK(secured.get(old) == 0);

  // Another password: no reload is needed.
  write_file(secured.path("web.yml"), tls + other);
  CHECK(secured.becomes(200, as("prometheus:battery staple")));
  CHECK(secured.get(as("prometheus:correct horse")) == 401);

  // A bad file changes nothing, and is named once.
  write_file(secured.path("web.yml"), tls + "basic_auth_users: {prometheus: plain}\n");
  CHECK(secured.says("basic_auth_users.prometheus"));
  CHECK(secured.says("still served by the web configuration of before"));
  CHECK(secured.daemon.log().find("plain") == std::string::npos);
  CHECK(secured.get(as("prometheus:battery staple")) == 200);

  // Another certificate: as a renewal brings it.
  write_file(secured.path("web.yml"), tls + other);
  make_certificate(secured.path("server"));
  CHECK(secured.becomes(200, as("prometheus:battery staple")));

  // None of it any more.
  write_file(secured.path("web.yml"), "");
  CHECK(eventually(
      [&] {
        std::string url = secured.daemon.metrics_url();
        url.replace(0, 5, "http");
        return command({"curl", "--silent", "--fail", "--max-time", "20", url}).exit_code == 0;
      },
      30s));
  CHECK(secured.daemon.ctl({"status"}).exit_code == 0);
}

TEST_CASE("a client without the right certificate is not served") {
  Secured secured(
      "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: client.pem,"
      " client_auth_type: RequireAndVerifyClientCert, min_version: TLS13}\n");
  const auto with = [&](const std::string& name) {
    std::vector<std::string> arguments = {"--cacert", secured.path("server.pem")};
    if (!name.empty()) {
      arguments.insert(arguments.end(), {"--cert", secured.path(name + ".pem"), "--key",
                                         secured.path(name + ".key")});
    }
    return arguments;
  };
  CHECK(secured.get(with("client")) == 200);
  CHECK(secured.get(with("stranger")) == 403);
  CHECK(secured.get(with("")) == 403);
  std::vector<std::string> older = with("client");
  older.insert(older.end(), {"--tls-max", "1.2"});
  CHECK(secured.get(older) == 0);
}

TEST_CASE(
    "a web configuration that cannot be read at start stops clients from nothing, and nobody is "
    "served without it") {
  const TemporaryFolder folder;
  const std::string web = folder.path() + "/web.yml";
  write_file(web, "basic_auth_users: {prometheus: plain}\n");
  const DaemonProcess daemon(
      "budget: 16MiB\nmetrics: {listen: [\"127.0.0.1:0\"], web_config: " + web + "}\n");
  CHECK(daemon.metrics_url().empty());
  CHECK(daemon.log().find("metrics: not served before " + web + " is mended") != std::string::npos);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(pool->get(4096));
  write_file(web, "");
  CHECK(eventually([&] { return !daemon.metrics_url().empty(); }, 30s));
  CHECK(daemon.http("GET", "/metrics").status == 200);
}

TEST_CASE("--check-config looks at the web configuration, too") {
  const TemporaryFolder folder;
  const std::string web = folder.path() + "/web.yml";
  const std::string config = folder.path() + "/zeropoold.yaml";
  write_file(config, "metrics: {web_config: " + web + "}\n");
  write_file(web, "basic_auth_users: {prometheus: plain}\n");
  const CommandResult bad = command({daemon_program(), "--check-config", "--config", config});
  CHECK(bad.exit_code == 2);
  CHECK(bad.err.find(web + ":1:32: basic_auth_users.prometheus: ") != std::string::npos);
  write_file(web, "");
  CHECK(command({daemon_program(), "--check-config", "--config", config}).exit_code == 0);
}

TEST_CASE("listening beyond loopback without a password is warned of") {
  const DaemonProcess daemon(
      "budget: 16MiB\nmetrics: {listen: [\"0.0.0.0:0\", \"127.0.0.1:0\"]}\n");
  CHECK(daemon.log().find("whoever reaches 0.0.0.0:") != std::string::npos);
  CHECK(daemon.log().find("whoever reaches 127.0.0.1:") == std::string::npos);
}
