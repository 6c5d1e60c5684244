#pragma once
// The document of `holders` as a profile for pprof (https://github.com/google/pprof): gzip of a message Profile of its
// profile.proto. Two values a sample, buffers and bytes; what nobody has sampled is there too, under the client's name.
//
// Written by hand, as it is written only: five messages of numbers and strings, against a compiler for a description of
// them at each build, and a library that the daemon's machine would have to have. tests/integration/holders.cpp reads it
// back by protoc.
//
// Thread safety: a function of its arguments.

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "ctl/process_maps.hpp"

namespace zeropool::ctl {

// False: `why`.
bool hold_profile(const nlohmann::json& document, const std::map<std::uint64_t, ProcessMaps>& maps,
                  std::string& profile, std::string& why);

}  // namespace zeropool::ctl
