// config/zeropoold.yaml names every key that the daemon reads, with its meaning, its default, and when it can change.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/config_testing.hpp"

using namespace zeropool::daemon;
using namespace zeropool::daemon::config_testing;

namespace {

using Path = std::vector<std::string>;

std::string joined(const Path& path) {
  std::string text;
  for (const std::string& key : path) text += (text.empty() ? "" : ".") + key;
  return text;
}

// The keys that the parser allows in a section, by its own words; empty: it is no section, or a map of pools.
std::vector<std::string> keys_in(const Path& section) {
  std::string text = "zz: 1";
  for (auto key = section.rbegin(); key != section.rend(); ++key) text = *key + ": {" + text + "}";
  const std::string refused = joined(section).empty() ? "zz" : joined(section) + ".zz";
  const std::string words = "; allowed here: ";
  for (const ConfigError& error : parse(text).errors) {
    const std::size_t at = error.message.find(words);
    if (error.key != refused || at == std::string::npos || !holds(error.message, "unknown key")) {
      continue;
    }
    std::vector<std::string> keys;
    std::istringstream list(error.message.substr(at + words.size()));
    for (std::string key; std::getline(list >> std::ws, key, ',');) keys.push_back(key);
    return keys;
  }
  return {};
}

void add_keys(const Path& section, std::vector<std::string>& all) {
  for (const std::string& key : keys_in(section)) {
    Path path = section;
    path.push_back(key);
    all.push_back(joined(path));
    add_keys(path, all);
  }
}

// Every key there is. What a pool is called is free: "default", as in the file.
std::vector<std::string> known_keys() {
  std::vector<std::string> all;
  add_keys({}, all);
  all.emplace_back("pools.default");
  add_keys({"pools", "default"}, all);
  std::sort(all.begin(), all.end());
  return all;
}

struct Entry {
  std::string meaning;  // the comment above it, or behind it
  std::string value;
  bool commented_out = false;
};

bool is_key(std::string_view text) {
  const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  return end != 0 && end != std::string_view::npos && text[end] == ':' &&
         (end + 1 == text.size() || text[end + 1] == ' ');
}

// The keys of a commented file, those that are commented out too, by their indentation.
std::map<std::string, Entry> documented_keys(std::istream& file) {
  std::map<std::string, Entry> entries;
  std::vector<std::pair<std::size_t, std::string>> open;
  std::string comment;
  for (std::string line; std::getline(file, line);) {
    std::size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) {
      comment.clear();
      continue;
    }
    const bool commented = line[indent] == '#';
    std::string text = line.substr(indent);
    if (commented) {
      const std::size_t word = text.find_first_not_of("# ");
      text = word == std::string::npos ? "" : text.substr(word);
      indent += word == std::string::npos || word < 2 ? 0 : word - 2;
      if (!is_key(text)) {
        comment += text + " ";
        continue;
      }
    }
    if (!is_key(text)) continue;
    while (!open.empty() && open.back().first >= indent) open.pop_back();
    const std::size_t colon = text.find(':');
    open.emplace_back(indent, text.substr(0, colon));
    Path path;
    for (const auto& [column, key] : open) path.push_back(key);
    const std::size_t behind = text.find(" # ");
    Entry entry{comment, text.substr(colon + 1, behind - colon - 1), commented};
    if (behind != std::string::npos) entry.meaning += text.substr(behind + 3);
    CHECK_MESSAGE(entries.count(joined(path)) == 0, joined(path), " stands there twice");
    entries[joined(path)] = entry;
    comment.clear();
  }
  return entries;
}

std::map<std::string, Entry> shipped_keys() {
  const char* given = std::getenv("ZEROPOOL_SOURCE_DIR");
#ifdef ZEROPOOL_SOURCE_DIR
  const std::filesystem::path source = given != nullptr ? given : ZEROPOOL_SOURCE_DIR;
#else
  REQUIRE(given != nullptr);
  const std::filesystem::path source = given;
#endif
  std::ifstream file(source / "config/zeropoold.yaml");
  REQUIRE(file.good());
  return documented_keys(file);
}

bool says_when(const std::string& meaning) {
  return holds(meaning, "[reload") || holds(meaning, "[restart");
}

}  // namespace

TEST_SUITE("config") {
  TEST_CASE("the shipped file names every key that is read, and no other") {
    const std::vector<std::string> known = known_keys();
    CHECK(known.size() >= 45);
    std::vector<std::string> documented;
    for (const auto& [key, entry] : shipped_keys()) documented.push_back(key);
    for (const std::string& key : known) {
      CHECK_MESSAGE(std::count(documented.begin(), documented.end(), key) == 1, key,
                    " is read, and the file does not name it");
    }
    for (const std::string& key : documented) {
      CHECK_MESSAGE(std::count(known.begin(), known.end(), key) == 1, key,
                    " is named, and nothing reads it");
    }
  }

  TEST_CASE("the shipped file says what each key means, its default, and when it can change") {
    const std::map<std::string, Entry> entries = shipped_keys();
    for (const auto& [key, entry] : entries) {
      CAPTURE(key);
      CHECK(entry.meaning.size() > 12);
      // A key that is not commented out has its default as its value: the file loads as the defaults.
      if (entry.commented_out) CHECK(holds(entry.meaning, "nless given"));
      bool when = says_when(entry.meaning);
      for (std::size_t dot = key.rfind('.'); dot != std::string::npos && !when;
           dot = key.rfind('.', dot - 1)) {
        when = says_when(entries.at(key.substr(0, dot)).meaning);
      }
      for (const auto& [other, inner] : entries) {  // or each of its own keys does
        when = when || (other.rfind(key + ".", 0) == 0 && says_when(inner.meaning));
      }
      CHECK_MESSAGE(when, "neither [reload] nor [restart]");
    }
  }

  TEST_CASE("a key that a commented file leaves out, or does not explain, is found") {
    std::istringstream file(
        "# The most.   [reload]\n# budget: 25%\nsocket:\n  # Where.\n  # path: /x\n  mode: "
        "\"0660\"\n");
    const auto entries = documented_keys(file);
    CHECK(entries.size() == 4);
    CHECK(entries.at("budget").commented_out);
    CHECK_FALSE(holds(entries.at("budget").meaning, "nless given"));
    CHECK(entries.at("socket.mode").meaning.empty());
    CHECK(entries.count("socket.group") == 0);
    const std::vector<std::string> known = known_keys();
    CHECK(std::count(known.begin(), known.end(), "socket.group") == 1);
    CHECK(std::count(known.begin(), known.end(), "pools.default.handoff.lease") == 1);
  }
}
