#include "daemon/http_server.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <microhttpd.h>
#include <mutex>
#include <signal.h>
#include <string_view>
#include <utility>

#include "daemon/http_listen.hpp"

namespace zeropool::daemon {
namespace {

constexpr const char* kPlainText = "text/plain; charset=utf-8";
constexpr const char* kMetricsText = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kHtml = "text/html; charset=utf-8";
constexpr const char* kJson = "application/json";
constexpr std::size_t kConnectionBytes = 16384;  // of one request's headers, and its answer's

struct Reply {
  unsigned status = MHD_HTTP_OK;
  const char* content_type = kPlainText;
  std::string body;
  bool allow = false;       // name the methods that are allowed
  std::string policy = {};  // Content-Security-Policy
};

Reply ready_reply(const HttpHandlers& handlers) {
  bool ready = false;
  try {
    ready = handlers.ready && handlers.ready();
  } catch (const std::exception&) {  // who cannot be asked is not ready
  }
  if (ready) return {.body = "ready\n"};
  return {.status = MHD_HTTP_SERVICE_UNAVAILABLE,
          .body = "not ready: the daemon is starting or stopping\n"};
}

bool is_known(std::string_view path) {
  return path == "/" || path == "/status.json" || path == "/metrics" || path == "/-/healthy" ||
         path == "/-/ready";
}

Reply reply_to(const HttpHandlers& handlers, std::string_view method, std::string_view path) {
  if (!is_known(path)) {
    return {.status = MHD_HTTP_NOT_FOUND,
            .body = "not found; there are /, /status.json, /metrics, /-/healthy and /-/ready\n"};
  }
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    return {.status = MHD_HTTP_METHOD_NOT_ALLOWED, .body = "only GET and HEAD\n", .allow = true};
  }
  if (path == "/metrics") return {.content_type = kMetricsText, .body = handlers.metrics()};
  if (path == "/-/ready") return ready_reply(handlers);
  if (path == "/-/healthy") return {.body = "healthy\n"};
  if (path == "/status.json") return {.content_type = kJson, .body = handlers.status_json()};
  return {.content_type = kHtml, .body = handlers.status_page(), .policy = handlers.page_policy};
}

MHD_Result send(MHD_Connection* connection, const Reply& reply) {
  // The cast is what the C interface asks for: MUST_COPY only reads.
  MHD_Response* response = MHD_create_response_from_buffer(
      reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (!reply.policy.empty()) {
    MHD_add_response_header(response, "Content-Security-Policy", reply.policy.c_str());
  }
  if (reply.allow) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, reply.status, response);
  MHD_destroy_response(response);
  return queued;
}

// Threads that start while this lives leave signals to the daemon's own.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

bool names_every_ipv4(const std::string& address) { return address.starts_with("0.0.0.0:"); }

}  // namespace

struct HttpServer::State {
  std::vector<std::string> listen;
  HttpHandlers handlers;
  HttpLimits limits;
  std::mutex mutex;  // one handler at a time
  std::vector<std::string> bound;
  std::vector<MHD_Daemon*> daemons;

  MHD_Result answer(MHD_Connection* connection, const char* method, const char* path) {
    try {
      Reply reply;
      {
        const std::lock_guard lock(mutex);
        reply = reply_to(handlers, method, path);
      }
      return send(connection, reply);
    } catch (const std::exception&) {
      return send(connection,
                  {.status = MHD_HTTP_INTERNAL_SERVER_ERROR, .body = "internal error\n"});
    }
  }

  static MHD_Result handle(void* self, MHD_Connection* connection, const char* path,
                           const char* method, const char*, const char*, std::size_t* upload_bytes,
                           void** request) {
    static char seen;
    const bool has_no_body = std::strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
                             std::strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (has_no_body && *request == nullptr) {  // answered when the request is whole
      *request = &seen;
      return MHD_YES;
    }
    if (*upload_bytes != 0) {  // nobody wants it
      *upload_bytes = 0;
      return MHD_YES;
    }
    return static_cast<State*>(self)->answer(connection, method, path);
  }

  void serve(ListenSocket socket, std::vector<std::string>& errors) {
    const SignalsBlocked blocked;
    MHD_Daemon* daemon =
        MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, nullptr, nullptr, &State::handle, this,
                         MHD_OPTION_LISTEN_SOCKET, socket.fd.get(), MHD_OPTION_CONNECTION_LIMIT,
                         limits.connections, MHD_OPTION_CONNECTION_TIMEOUT, limits.timeout_seconds,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes, MHD_OPTION_END);
    if (daemon == nullptr) {
      // Whether it was closed is not told; a descriptor left open is better than somebody else's
      // closed.
      static_cast<void>(socket.fd.release());
      errors.push_back(
          "metrics.listen: cannot serve " + socket.address +
          ": the HTTP server does not start; look at the limits of threads and open files");
      return;
    }
    static_cast<void>(socket.fd.release());  // the daemon's now
    daemons.push_back(daemon);
    bound.push_back(std::move(socket.address));
  }
};

HttpServer::HttpServer(std::vector<std::string> listen, HttpHandlers handlers, HttpLimits limits)
    : state_(std::make_unique<State>()) {
  state_->listen = std::move(listen);
  state_->handlers = std::move(handlers);
  state_->limits = limits;
}

HttpServer::~HttpServer() {
  for (MHD_Daemon* daemon : state_->daemons) MHD_stop_daemon(daemon);
}

std::vector<std::string> HttpServer::start() {
  std::vector<std::string> errors;
  const bool ipv6_only =
      std::any_of(state_->listen.begin(), state_->listen.end(), names_every_ipv4);
  for (const std::string& address : state_->listen) {
    ListenOutcome outcome = listen_on(address, ipv6_only);
    if (!outcome.error.empty()) errors.push_back(std::move(outcome.error));
    for (ListenSocket& socket : outcome.sockets) state_->serve(std::move(socket), errors);
  }
  return errors;
}

std::vector<std::string> HttpServer::bound_addresses() const { return state_->bound; }

}  // namespace zeropool::daemon
