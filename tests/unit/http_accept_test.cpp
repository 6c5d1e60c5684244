#include "daemon/http_accept.hpp"

#include <string>
#include <string_view>
#include <zlib.h>

#include <doctest/doctest.h>

#include "daemon/gzip.hpp"

namespace zeropool::daemon {

TEST_CASE(
    "OpenMetrics is answered to who names it, as Prometheus does, and text to everybody else") {
  const auto open = [](std::string_view accept) {
    return choose_format(accept) == MetricsFormat::kOpenMetrics;
  };
  CHECK(open("application/openmetrics-text"));
  CHECK(open("application/openmetrics-text; version=1.0.0; charset=utf-8"));
  CHECK(open("APPLICATION/OpenMetrics-Text;version=\"1.0.0\""));
  CHECK(open(
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q="
      "0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
  CHECK(open("text/plain;q=0.5, application/openmetrics-text;q=0.6"));
  CHECK(open("text/*;q=0.2,*/*;q=0.9,application/openmetrics-text;q=0.2"));
  CHECK_FALSE(open(""));
  CHECK_FALSE(open("*/*"));
  CHECK_FALSE(open("application/*"));
  CHECK_FALSE(open("text/plain"));
  CHECK_FALSE(open("text/html,application/xhtml+xml,*/*;q=0.8"));
  CHECK_FALSE(open("application/openmetrics-text;version=0.0.1"));
  CHECK_FALSE(open("application/openmetrics-text;version=2.0.0"));
  CHECK_FALSE(open("application/openmetrics-text;q=0"));
  CHECK_FALSE(open("text/plain;q=0.9, application/openmetrics-text;q=0.8"));
  CHECK_FALSE(open("application/openmetrics-text;q=nonsense"));
  CHECK_FALSE(open("application/openmetrics-text;q=7"));
  CHECK_FALSE(open(",;,;=;q,,;;"));
}

TEST_CASE("gzip is answered to who takes it") {
  CHECK(accepts_gzip("gzip"));
  CHECK(accepts_gzip("deflate, GZIP;q=0.5"));
  CHECK(accepts_gzip("*"));
  CHECK(accepts_gzip("identity;q=0, *;q=0.5"));
  CHECK_FALSE(accepts_gzip(""));
  CHECK_FALSE(accepts_gzip("identity"));
  CHECK_FALSE(accepts_gzip("gzip;q=0"));
  CHECK_FALSE(accepts_gzip("gzip;q=0, *;q=1"));
  CHECK_FALSE(accepts_gzip("br, zstd"));
}

TEST_CASE("what is packed is the same when it is unpacked") {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{3'000'000}}) {
    std::string text;
    while (text.size() < bytes)
      text += "zeropool_gets_total{pool=\"" + std::to_string(text.size()) + "\"} 1\n";
    text.resize(bytes);
    const auto packed = gzipped(text);
    REQUIRE(packed);
    std::string back(bytes + 1, '\0');
    z_stream stream{};
    REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed->data()));
    stream.avail_in = static_cast<uInt>(packed->size());
    stream.next_out = reinterpret_cast<Bytef*>(back.data());
    stream.avail_out = static_cast<uInt>(back.size());
    CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
    back.resize(stream.total_out);
    inflateEnd(&stream);
    CHECK(back == text);
    if (bytes > 1000) CHECK(packed->size() < bytes / 4);
  }
}

}  // namespace zeropool::daemon
