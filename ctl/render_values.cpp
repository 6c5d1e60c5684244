#include "ctl/render.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;

const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

}  // namespace

std::uint64_t number_at(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr || !value->is_number_integer()) return 0;
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  const auto number = value->get<std::int64_t>();
  return number < 0 ? 0 : static_cast<std::uint64_t>(number);
}

double real_at(const json& object, const char* key) {
  const json* value = find(object, key);
  return value != nullptr && value->is_number() ? value->get<double>() : 0;
}

bool truth_at(const json& object, const char* key) {
  const json* value = find(object, key);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

std::string text_at(const json& object, const char* key) {
  const json* value = find(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string{};
}

const json& list_at(const json& object, const char* key) {
  static const json kEmpty = json::array();
  const json* value = find(object, key);
  return value != nullptr && value->is_array() ? *value : kEmpty;
}

const json& object_at(const json& object, const char* key) {
  static const json kEmpty = json::object();
  const json* value = find(object, key);
  return value != nullptr && value->is_object() ? *value : kEmpty;
}

}  // namespace zeropool::ctl
