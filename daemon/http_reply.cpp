#include "daemon/http_reply.hpp"

#include <microhttpd.h>
#include <optional>
#include <utility>

#include "daemon/gzip.hpp"

namespace zeropool::daemon {
namespace {

constexpr const char* kMetricsText = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kOpenMetricsText =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

HttpReply ready_reply(const HttpHandlers& handlers) {
  bool ready = false;
  try {
    ready = handlers.ready && handlers.ready();
  } catch (const std::exception&) {  // who cannot be asked is not ready
  }
  if (ready) return {.body = "ready\n"};
  return {.status = MHD_HTTP_SERVICE_UNAVAILABLE,
          .body = "not ready: the daemon is starting, stopping, or drained\n"};
}

HttpReply metrics_reply(const HttpHandlers& handlers, const HttpRequest& request) {
  const MetricsFormat format = choose_format(request.accept);
  HttpReply reply;
  reply.content_type = format == MetricsFormat::kOpenMetrics ? kOpenMetricsText : kMetricsText;
  reply.body = handlers.metrics(format);
  reply.varies = true;
  if (!accepts_gzip(request.accept_encoding)) return reply;
  if (std::optional<std::string> packed = gzipped(reply.body)) {
    reply.body = *std::move(packed);
    reply.gzip = true;
  }
  return reply;
}

bool is_known(std::string_view path) {
  return path == "/" || path == "/status.json" || path == "/metrics" || path == "/-/healthy" ||
         path == "/-/ready";
}

}  // namespace

HttpReply reply_to(const HttpHandlers& handlers, const HttpRequest& request) {
  if (!is_known(request.path)) {
    return {.status = MHD_HTTP_NOT_FOUND,
            .body = "not found; there are /, /status.json, /metrics, /-/healthy and /-/ready\n"};
  }
  if (request.method != MHD_HTTP_METHOD_GET && request.method != MHD_HTTP_METHOD_HEAD) {
    return {.status = MHD_HTTP_METHOD_NOT_ALLOWED, .body = "only GET and HEAD\n", .allow = true};
  }
  try {
    if (request.path == "/metrics") return metrics_reply(handlers, request);
    if (request.path == "/-/ready") return ready_reply(handlers);
    if (request.path == "/-/healthy") return {.body = "healthy\n"};
    if (request.path == "/status.json")
      return {.content_type = kJson, .body = handlers.status_json()};
    return {.content_type = kHtml, .body = handlers.status_page(), .policy = handlers.page_policy};
  } catch (const Unavailable& sentence) {
    return {.status = MHD_HTTP_SERVICE_UNAVAILABLE, .body = std::string(sentence.what()) + "\n"};
  } catch (const std::exception&) {
    return {.status = MHD_HTTP_INTERNAL_SERVER_ERROR, .body = "internal error\n"};
  }
}

}  // namespace zeropool::daemon
