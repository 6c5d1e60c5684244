#include "daemon/http_listener.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <signal.h>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/web_tls.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::size_t kConnectionBytes = 16384;  // of one request's headers, and its answer's
// Beyond the limit, so that those who come can drop those who are late.
constexpr unsigned kSpareConnections = 16;
constexpr const char* kDefaultPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

// The server's threads start with every signal blocked: signals are the loop's.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

std::string_view header(MHD_Connection* connection, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

int descriptor_of(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info == nullptr ? -1 : info->connect_fd;
}

// The C interface takes its options without const, and only reads them.
MHD_OptionItem option(MHD_OPTION what, std::intptr_t value) { return {what, value, nullptr}; }
MHD_OptionItem option(MHD_OPTION what, const std::string& text) {
  return {what, 0, const_cast<char*>(text.c_str())};
}

}  // namespace

HttpSecurity::HttpSecurity(WebConfig config)
    : web(std::move(config)),
      passwords(web.users),
      priorities(web.tls ? tls_priorities(*web.tls) : std::string()) {}

HttpListener::HttpListener(HttpService& service, std::shared_ptr<HttpSecurity> security,
                           Limits limits)
    : service_(service),
      security_(std::move(security)),
      connections_(limits.connections, std::chrono::seconds(limits.patience_seconds)) {}

std::unique_ptr<HttpListener> HttpListener::start(lib::UniqueFd& socket, HttpService& service,
                                                  std::shared_ptr<HttpSecurity> security,
                                                  Limits limits) {
  std::unique_ptr<HttpListener> listener(new HttpListener(service, std::move(security), limits));
  // MHD closes a socket when it fails, or not: it gets a copy.
  lib::UniqueFd copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return nullptr;
  std::vector<MHD_OptionItem> options = {
      option(MHD_OPTION_LISTEN_SOCKET, copy.get()),
      option(MHD_OPTION_CONNECTION_LIMIT, limits.connections + kSpareConnections),
      option(MHD_OPTION_CONNECTION_TIMEOUT, limits.timeout_seconds),
      option(MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes),
      {MHD_OPTION_NOTIFY_CONNECTION, reinterpret_cast<std::intptr_t>(&connection_changed),
       listener.get()},
      {MHD_OPTION_NOTIFY_COMPLETED, reinterpret_cast<std::intptr_t>(&request_ended),
       listener.get()},
  };
  unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC;
  const HttpSecurity& secured = *listener->security_;
  if (const auto& tls = secured.web.tls) {
    flags |= MHD_USE_TLS;
    options.push_back(option(MHD_OPTION_HTTPS_MEM_CERT, tls->certificate));
    options.push_back(option(MHD_OPTION_HTTPS_MEM_KEY, tls->key));
    options.push_back(option(MHD_OPTION_HTTPS_PRIORITIES, secured.priorities));
    if (!tls->client_ca.empty()) {
      options.push_back(option(MHD_OPTION_HTTPS_MEM_TRUST, tls->client_ca));
    }
  }
  options.push_back({MHD_OPTION_END, 0, nullptr});
  const SignalsBlocked blocked;
  listener->daemon_ = MHD_start_daemon(flags, 0, nullptr, nullptr, &handle, listener.get(),
                                       MHD_OPTION_ARRAY, options.data(), MHD_OPTION_END);
  // Whether it was closed is not told; a descriptor left open is better than somebody else's closed.
  static_cast<void>(copy.release());
  if (listener->daemon_ == nullptr) return nullptr;
  listener->socket_ = std::move(socket);
  return listener;
}

HttpListener::~HttpListener() {
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

lib::UniqueFd HttpListener::retire() {
  lib::UniqueFd(MHD_quiesce_daemon(daemon_));  // its copy: closed
  return std::move(socket_);
}

void HttpListener::connection_changed(void* self, MHD_Connection* connection, void**,
                                      MHD_ConnectionNotificationCode what) {
  HttpConnections& connections = static_cast<HttpListener*>(self)->connections_;
  const int fd = descriptor_of(connection);
  if (what == MHD_CONNECTION_NOTIFY_STARTED) {
    connections.opened(fd, HttpConnections::Clock::now());
  } else {
    connections.closed(fd);
  }
}

void HttpListener::request_ended(void* self, MHD_Connection* connection, void**,
                                 MHD_RequestTerminationCode how) {
  if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK) return;
  static_cast<HttpListener*>(self)->connections_.answered(descriptor_of(connection),
                                                          HttpConnections::Clock::now());
}

MHD_Result HttpListener::handle(void* self, MHD_Connection* connection, const char* path,
                                const char* method, const char*, const char*,
                                std::size_t* upload_bytes, void** request) {
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
  auto* listener = static_cast<HttpListener*>(self);
  try {
    return listener->send(connection, listener->reply(connection, method, path));
  } catch (const std::exception&) {  // no memory, most likely
    return MHD_NO;
  }
}

HttpReply HttpListener::reply(MHD_Connection* connection, const char* method, const char* path) {
  const WebConfig& web = security_->web;
  if (web.tls && web.tls->client_auth != ClientAuth::kNone) {
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == nullptr || !client_is_welcome(static_cast<gnutls_session_t>(info->tls_session),
                                              web.tls->client_auth)) {
      return {.status = MHD_HTTP_FORBIDDEN, .body = "a certificate of the client is required\n"};
    }
  }
  if (!web.users.empty() && !security_->passwords.allows(header(connection, "Authorization"))) {
    return {.status = MHD_HTTP_UNAUTHORIZED,
            .body = "a user and a password are required\n",
            .authenticate = true};
  }
  const HttpRequest request{method, path, header(connection, "Accept"),
                            header(connection, "Accept-Encoding")};
  const std::lock_guard lock(service_.mutex);
  return reply_to(service_.handlers, request);
}

MHD_Result HttpListener::send(MHD_Connection* connection, const HttpReply& reply) const {
  // The cast is what the C interface asks for: MUST_COPY only reads.
  MHD_Response* response = MHD_create_response_from_buffer(
      reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  std::map<std::string, std::string> headers = security_->web.headers;
  headers.try_emplace("X-Content-Type-Options", "nosniff");
  if (std::string_view(reply.content_type) == kHtml) {
    headers.try_emplace("Content-Security-Policy",
                        reply.policy.empty() ? kDefaultPolicy : reply.policy);
  }
  headers["Content-Type"] = reply.content_type;
  headers["Cache-Control"] = "no-store";
  if (reply.allow) headers["Allow"] = "GET, HEAD";
  if (reply.varies) headers["Vary"] = "Accept, Accept-Encoding";
  if (reply.gzip) headers["Content-Encoding"] = "gzip";
  if (reply.authenticate)
    headers["WWW-Authenticate"] = "Basic realm=\"zeropool\", charset=\"UTF-8\"";
  for (const auto& [name, value] : headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  const MHD_Result queued = MHD_queue_response(connection, reply.status, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace zeropool::daemon
