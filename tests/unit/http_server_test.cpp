#include "daemon/http_server.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {
namespace {

using lib::UniqueFd;

HttpHandlers handlers(bool ready = true) {
  return {.metrics =
              [](MetricsFormat format) {
                return std::string(format == MetricsFormat::kText ? "zeropool_up 1\n"
                                                                  : "zeropool_up 1\n# EOF\n");
              },
          .ready = [ready] { return ready; },
          .status_page = [] { return std::string("<!doctype html><p>well"); },
          .status_json = [] { return std::string("{}\n"); },
          .page_policy = "default-src 'none'"};
}

// A connection to "127.0.0.1:port" or "[::1]:port".
UniqueFd connect_to(const std::string& address) {
  const auto port = static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
  const bool ipv6 = address.front() == '[';
  UniqueFd socket(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  const auto* to =
      ipv6 ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  REQUIRE(::connect(socket.get(), to, ipv6 ? sizeof v6 : sizeof v4) == 0);
  return socket;
}

void send_text(const UniqueFd& socket, const std::string& text) {
  static_cast<void>(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL));
}

// What comes until the server closes the connection, for `seconds` at most: it takes its timeout for some garbage.
std::string read_to_end(const UniqueFd& socket, int seconds = 60) {
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd ready{socket.get(), POLLIN, 0};
    if (::poll(&ready, 1, 100) <= 0) continue;
    char part[4096];
    const ssize_t got = ::recv(socket.get(), part, sizeof part, 0);
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
  FAIL("the server keeps the connection open");
  return text;
}

std::string ask(const std::string& address, const std::string& request_line,
                const std::string& rest = "") {
  const UniqueFd socket = connect_to(address);
  send_text(socket, request_line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + rest + "\r\n");
  return read_to_end(socket);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string body_of(const std::string& answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

struct Served {
  explicit Served(HttpHandlers with = handlers(), HttpLimits limits = {})
      : server({"127.0.0.1:0"}, std::move(with), limits) {
    REQUIRE(server.start().empty());
    address = server.bound_addresses().at(0);
  }
  HttpServer server;
  std::string address;
};

}  // namespace

TEST_CASE("GET answers on every path") {
  const Served served;
  const std::string metrics = ask(served.address, "GET /metrics?name=x");
  CHECK(has(metrics, "HTTP/1.1 200"));
  CHECK(has(metrics, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  CHECK(body_of(metrics) == "zeropool_up 1\n");
  CHECK(body_of(ask(served.address, "GET /-/healthy")) == "healthy\n");
  CHECK(body_of(ask(served.address, "GET /-/ready")) == "ready\n");
  const std::string page = ask(served.address, "GET /");
  CHECK(has(page, "Content-Type: text/html; charset=utf-8\r\n"));
  CHECK(has(page, "Content-Security-Policy: "));
  CHECK(body_of(page) == "<!doctype html><p>well");
}

TEST_CASE("HEAD answers with the headers of GET and no body") {
  const Served served;
  for (const char* path : {"/metrics", "/-/healthy", "/-/ready", "/"}) {
    const std::string answer = ask(served.address, std::string("HEAD ") + path);
    CHECK(has(answer, "HTTP/1.1 200"));
    CHECK(body_of(answer).empty());
    CHECK_FALSE(has(answer, "Content-Length: 0\r\n"));
  }
}

TEST_CASE("an unknown path is 404, another method 405 with Allow") {
  const Served served;
  CHECK(has(ask(served.address, "GET /nothing"), "HTTP/1.1 404"));
  CHECK(has(ask(served.address, "GET /metrics/"), "HTTP/1.1 404"));
  CHECK(has(ask(served.address, "POST /nothing", "Content-Length: 0\r\n"), "HTTP/1.1 404"));
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "BREW"}) {
    CAPTURE(method);
    const std::string answer =
        ask(served.address, std::string(method) + " /metrics", "Content-Length: 0\r\n");
    CHECK(has(answer, "HTTP/1.1 405"));
    CHECK(has(answer, "Allow: GET, HEAD\r\n"));
  }
}

TEST_CASE("not ready is 503 with a sentence, and healthy all the same") {
  const Served served(handlers(false));
  const std::string answer = ask(served.address, "GET /-/ready");
  CHECK(has(answer, "HTTP/1.1 503"));
  CHECK(has(body_of(answer), "not ready"));
  CHECK(has(ask(served.address, "GET /-/healthy"), "HTTP/1.1 200"));
}

TEST_CASE("a handler that throws makes a 500, and the next request is served") {
  HttpHandlers throwing = handlers();
  throwing.metrics = [](MetricsFormat) -> std::string { throw std::runtime_error("no"); };
  throwing.status_page = []() -> std::string { throw Unavailable("the daemon is starting"); };
  const Served served(std::move(throwing));
  CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 500"));
  const std::string starting = ask(served.address, "GET /");
  CHECK(has(starting, "HTTP/1.1 503"));
  CHECK(body_of(starting) == "the daemon is starting\n");
  CHECK(has(ask(served.address, "GET /-/healthy"), "HTTP/1.1 200"));
}

TEST_CASE("several requests on one connection are answered in order") {
  const Served served;
  const UniqueFd socket = connect_to(served.address);
  send_text(socket,
            "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
            "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = read_to_end(socket);
  const std::size_t healthy = answers.find("healthy\n");
  REQUIRE(healthy != std::string::npos);
  CHECK(answers.find("ready\n", healthy) != std::string::npos);
  CHECK_FALSE(has(answers, "zeropool_up"));
}

TEST_CASE("a slow client is dropped, and holds up nobody") {
  const Served served(handlers(), {.connections = 4, .timeout_seconds = 1});
  const UniqueFd silent = connect_to(served.address);
  const UniqueFd unfinished = connect_to(served.address);
  send_text(unfinished, "GET /metrics HTTP/1.1\r\nHos");
  CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
  CHECK_FALSE(has(read_to_end(silent), "200"));
  CHECK_FALSE(has(read_to_end(unfinished), "200"));
}

TEST_CASE("more connections than allowed wait, and are served when others are dropped") {
  const Served served(handlers(), {.connections = 2, .timeout_seconds = 1});
  const UniqueFd first = connect_to(served.address);
  const UniqueFd second = connect_to(served.address);
  CHECK(has(ask(served.address, "GET /-/healthy"), "HTTP/1.1 200"));
}

TEST_CASE("garbage is refused, and the next request is served") {
  const Served served;
  const std::string garbage[] = {std::string(64, '\0').append("\r\n\r\n"),
                                 "\x16\x03\x01\x02\r\n\r\n", "GET\r\n\r\n",
                                 "GET " + std::string(100'000, 'a') + " HTTP/1.1\r\n\r\n",
                                 "GET / HTTP/1.1\r\n" + std::string(100'000, 'h') + ": x\r\n\r\n"};
  for (const std::string& text : garbage) {
    const UniqueFd socket = connect_to(served.address);
    send_text(socket, text);
    ::shutdown(socket.get(), SHUT_WR);
    CHECK_FALSE(has(read_to_end(socket), "HTTP/1.1 200"));
    CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
  }
}

TEST_CASE("metrics come in the format and the encoding that is asked for") {
  const Served served;
  const std::string open = ask(served.address, "GET /metrics",
                               "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
  CHECK(has(open, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
  CHECK(has(open, "Vary: Accept, Accept-Encoding\r\n"));
  CHECK(body_of(open) == "zeropool_up 1\n# EOF\n");
  const std::string packed =
      ask(served.address, "GET /metrics", "Accept-Encoding: deflate, gzip\r\n");
  CHECK(has(packed, "Content-Encoding: gzip\r\n"));
  CHECK(has(packed, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  CHECK(has(body_of(packed), "\x1f\x8b"));
  CHECK_FALSE(has(ask(served.address, "GET /-/healthy", "Accept-Encoding: gzip\r\n"), "gzip"));
}

TEST_CASE("clients that send a byte now and then are dropped when others come") {
  const Served served(handlers(), {.connections = 4, .timeout_seconds = 60, .patience_seconds = 1});
  const UniqueFd slow[] = {connect_to(served.address), connect_to(served.address),
                           connect_to(served.address)};
  for (const UniqueFd& socket : slow) send_text(socket, "GET /metrics HTTP/1.1\r\nX-Slow: ");
  const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(1200);
  while (std::chrono::steady_clock::now() < patience) {
    for (const UniqueFd& socket : slow) send_text(socket, "x");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
  for (const UniqueFd& socket : slow) CHECK_FALSE(has(read_to_end(socket, 30), "200"));
}

TEST_CASE("a thousand connections that say nothing keep nobody out") {
  const Served served(handlers(),
                      {.connections = 16, .timeout_seconds = 60, .patience_seconds = 60});
  std::vector<UniqueFd> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(connect_to(served.address));
    if (i % 100 == 0) CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
  }
  CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
}

TEST_CASE(
    "a client that ends its side, or never reads, is served or dropped, and others are served") {
  const Served served;
  const UniqueFd half = connect_to(served.address);
  send_text(half, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ::shutdown(half.get(), SHUT_WR);
  static_cast<void>(read_to_end(half));
  const UniqueFd deaf = connect_to(served.address);
  for (int i = 0; i < 50; ++i) send_text(deaf, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  {
    const UniqueFd gone = connect_to(served.address);
    send_text(gone, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    const linger at_once{1, 0};  // a reset
    ::setsockopt(gone.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  CHECK(has(ask(served.address, "GET /metrics"), "HTTP/1.1 200"));
}

TEST_CASE("users are asked for their password, on every path, and headers are those configured") {
  WebConfig web;
  web.users["prometheus"] = "$2y$04$abcdefghijklmnopqrstuuKVnZ6Hj0PTXNEIWnbOkFRxgTY1.4JSa";
  web.headers["X-Frame-Options"] = "deny";
  HttpServer server({"127.0.0.1:0"}, handlers(), {}, web);
  REQUIRE(server.start().empty());
  const std::string address = server.bound_addresses().at(0);
  for (const char* path : {"/", "/metrics", "/-/healthy", "/-/ready", "/nothing"}) {
    CAPTURE(path);
    const std::string answer = ask(address, std::string("GET ") + path);
    CHECK(has(answer, "HTTP/1.1 401"));
    CHECK(has(answer, "WWW-Authenticate: Basic realm=\"zeropool\""));
    CHECK(has(answer, "X-Frame-Options: deny\r\n"));
  }
  // And from the next moment on, none.
  CHECK(server.secure({}).empty());
  CHECK(server.bound_addresses() == std::vector<std::string>{address});
  CHECK(has(ask(address, "GET /metrics"), "HTTP/1.1 200"));
}

TEST_CASE("an occupied port is reported, and the other addresses are served") {
  const Served first;
  HttpServer second({first.address, "127.0.0.1:0"}, handlers());
  const std::vector<std::string> errors = second.start();
  REQUIRE(errors.size() == 1);
  CHECK(has(errors[0], first.address));
  CHECK(has(errors[0], "in use"));
  REQUIRE(second.bound_addresses().size() == 1);
  CHECK(has(ask(second.bound_addresses()[0], "GET /metrics"), "HTTP/1.1 200"));
}

TEST_CASE("an address that is none is reported") {
  HttpServer server({"nonsense", "127.0.0.1:99999", "203.0.113.7:0"}, handlers());
  CHECK(server.start().size() == 3);
  CHECK(server.bound_addresses().empty());
}

TEST_CASE("IPv6 is served where the machine has it") {
  HttpServer server({"127.0.0.1:0", "[::1]:0"}, handlers());
  const std::vector<std::string> errors = server.start();
  if (!errors.empty()) {
    MESSAGE("no IPv6 here: " << errors[0]);
    CHECK(server.bound_addresses().size() == 1);
    return;
  }
  REQUIRE(server.bound_addresses().size() == 2);
  CHECK(server.bound_addresses()[1].rfind("[::1]:", 0) == 0);
  CHECK(has(ask(server.bound_addresses()[1], "GET /metrics"), "HTTP/1.1 200"));
}

}  // namespace zeropool::daemon
