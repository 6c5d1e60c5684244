#pragma once
// The daemon's documents as people read them: one function a command, one file each.
//
// Thread safety: functions of their arguments.
// Errors: a document of another version may lack keys: what is missing is shown as nothing or 0.

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

namespace zeropool::ctl {

struct ProcessMaps;  // process_maps.hpp

std::string render_status(const nlohmann::json& document);
std::string render_pools(const nlohmann::json& document);
std::string render_clients(const nlohmann::json& document);
std::string render_trim(const nlohmann::json& document);
std::string render_audit(const nlohmann::json& document);
std::string render_reload(const nlohmann::json& document);
// `maps`: of the processes whose stacks are shown.
std::string render_holders(const nlohmann::json& document,
                           const std::map<std::uint64_t, ProcessMaps>& maps);

// Values of keys that may be missing, or of another type.
std::uint64_t number_at(const nlohmann::json& object, const char* key);
double real_at(const nlohmann::json& object, const char* key);
bool truth_at(const nlohmann::json& object, const char* key);
std::string text_at(const nlohmann::json& object, const char* key);
const nlohmann::json& list_at(const nlohmann::json& object, const char* key);
const nlohmann::json& object_at(const nlohmann::json& object, const char* key);

}  // namespace zeropool::ctl
