#pragma once
// The document of `zeropoolctl holders`, and the question that it answers.
//
// Thread safety: hold_document() the loop thread's, parse_hold_query() a function of its argument.
// Invariants:
//   D1  However many pools, clients and samples there are, and whatever clients write: the loop thread works for some 0.1 s on
//       an answer, which has at most 10,000 rows and 1,000 stacks: the largest. What is left out is counted, with its bytes;
//       a pool that was not read to its end says so (`complete`).

#include <string>

#include <nlohmann/json.hpp>

#include "daemon/hold_ages.hpp"

namespace zeropool::daemon {

// From {"older_than_seconds": 300, "pool": "frames", "client": 7}, each of them or none. Empty: parsed; else why not.
std::string parse_hold_query(const std::string& argument, HoldQuery& query);

// Of the pools that the query is about.
nlohmann::json hold_document(const std::vector<Pool*>& pools, const HoldQuery& query);

}  // namespace zeropool::daemon
