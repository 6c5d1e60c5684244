#pragma once
// HTTP for people and Prometheus: /metrics, /-/healthy, /-/ready, a status page at / and its figures at /status.json.
// GET and HEAD only; TLS and passwords as a WebConfig says.
//
// Thread safety: the constructor, start(), secure() and the destructor belong to one thread. Handlers are
// called on the server's own threads, one call at a time; start() begins that, the destructor ends
// it (and waits for a call that is under way, so a handler must not wait for the thread that
// destroys the server).
// Errors: an address that cannot be served is reported and left out; the others are served. A
// handler that throws makes a 500, one that throws Unavailable a 503.

#include <memory>
#include <string>
#include <vector>

#include "daemon/http_reply.hpp"
#include "daemon/web_config.hpp"

namespace zeropool::daemon {

struct HttpLimits {
  unsigned connections = 64;       // at once, per address; of more the oldest is dropped
  unsigned timeout_seconds = 10;   // a connection that is silent so long is closed
  unsigned patience_seconds = 15;  // one that has no answer for so long is dropped when others come
};

class HttpServer {
 public:
  HttpServer(std::vector<std::string> listen, HttpHandlers handlers, HttpLimits limits = {},
             WebConfig web = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // A sentence for each address that is not served. Called once.
  std::vector<std::string> start();
  // From now on by this configuration: who is connected by the old one is cut off. A sentence for each address that is
  // served as before, because it cannot be by the new one.
  std::vector<std::string> secure(WebConfig web);
  // Numeric, with the ports that were got: 127.0.0.1:9977, [::1]:9977.
  std::vector<std::string> bound_addresses() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeropool::daemon
