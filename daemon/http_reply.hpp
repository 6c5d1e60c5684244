#pragma once
// What is answered to a request: paths, methods, formats; without a socket.
//
// Thread safety: functions of their arguments; handlers state their own.

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "daemon/http_accept.hpp"

namespace zeropool::daemon {

// Thrown by a handler that cannot answer now: a 503 with the sentence.
struct Unavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct HttpHandlers {
  std::function<std::string(MetricsFormat)> metrics;
  std::function<bool()> ready;               // can clients attach and be served?
  std::function<std::string()> status_page;  // HTML
  std::function<std::string()> status_json;  // what the page shows
  std::string page_policy;                   // Content-Security-Policy of the page
};

struct HttpRequest {
  std::string_view method;
  std::string_view path;
  std::string_view accept;
  std::string_view accept_encoding;
};

inline constexpr const char* kPlainText = "text/plain; charset=utf-8";
inline constexpr const char* kHtml = "text/html; charset=utf-8";
inline constexpr const char* kJson = "application/json";

struct HttpReply {
  unsigned status = 200;
  const char* content_type = kPlainText;
  std::string body;
  bool allow = false;         // names the methods that are allowed
  bool varies = false;        // by what the client takes
  bool gzip = false;          // the body is packed
  bool authenticate = false;  // asks for a password
  std::string policy = {};    // Content-Security-Policy
};

// An exception of a handler is a reply, too.
HttpReply reply_to(const HttpHandlers& handlers, const HttpRequest& request);

}  // namespace zeropool::daemon
