#pragma once
// The document of `zeropoolctl holders`, and the question that it answers.
//
// Thread safety: hold_document() the loop thread's, parse_hold_query() a function of its argument.

#include <string>

#include <nlohmann/json.hpp>

#include "daemon/hold_ages.hpp"

namespace zeropool::daemon {

// From {"older_than_seconds": 300, "pool": "frames", "client": 7}, each of them or none. Empty: parsed; else why not.
std::string parse_hold_query(const std::string& argument, HoldQuery& query);

// Of the pools that the query is about.
nlohmann::json hold_document(const std::vector<Pool*>& pools, const HoldQuery& query);

}  // namespace zeropool::daemon
