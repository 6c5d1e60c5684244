#pragma once
// HTTP for people and Prometheus: /metrics, /-/healthy, /-/ready, a status page at / and its figures at
// /status.json. GET and
// HEAD only.
//
// Thread safety: the constructor, start() and the destructor belong to one thread. Handlers are
// called on the server's own threads, one call at a time; start() begins that, the destructor ends
// it (and waits for a call that is under way, so a handler must not wait for the thread that
// destroys the server).
// Errors: an address that cannot be served is reported and left out; the others are served. A
// handler that throws makes a 500.

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace zeropool::daemon {

struct HttpHandlers {
  std::function<std::string()> metrics;      // text format 0.0.4
  std::function<bool()> ready;               // can clients attach and be served?
  std::function<std::string()> status_page;  // HTML
  std::function<std::string()> status_json;  // what the page shows
  std::string page_policy;                   // Content-Security-Policy of the page
};

struct HttpLimits {
  unsigned connections = 64;      // at once, per address
  unsigned timeout_seconds = 10;  // a connection that is silent so long is closed
};

class HttpServer {
 public:
  HttpServer(std::vector<std::string> listen, HttpHandlers handlers, HttpLimits limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // A sentence for each address that is not served. Called once.
  std::vector<std::string> start();
  // Numeric, with the ports that were got: 127.0.0.1:9977, [::1]:9977.
  std::vector<std::string> bound_addresses() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeropool::daemon
