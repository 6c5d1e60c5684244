#pragma once
// What a client of the HTTP server takes: Accept and Accept-Encoding, with their q values.
//
// Thread safety: functions of their arguments. Trust: headers may be anything; what cannot be read is passed over.

#include <string_view>

namespace zeropool::daemon {

enum class MetricsFormat { kText, kOpenMetrics };

// OpenMetrics 1.0 when it is named and wanted at least as much as text; else the text format 0.0.4, which everybody reads.
MetricsFormat choose_format(std::string_view accept);

bool accepts_gzip(std::string_view accept_encoding);

}  // namespace zeropool::daemon
