#include "ctl/hold_profile.hpp"

#include <chrono>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>
#include <zlib.h>

#include "ctl/protobuf_writer.hpp"
#include "ctl/render.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;

// Fields of profile.proto, which its readers know by these numbers.
namespace field {
enum Profile : std::uint32_t {
  kSampleType = 1,
  kSample = 2,
  kMapping = 3,
  kLocation = 4,
  kFunction = 5,
  kStringTable = 6,
  kTimeNanos = 9,
  kDefaultSampleType = 14,
};
enum ValueType : std::uint32_t { kType = 1, kUnit = 2 };
enum Sample : std::uint32_t { kLocationIds = 1, kValues = 2, kLabel = 3 };
enum Label : std::uint32_t { kKey = 1, kText = 2, kNumber = 3, kNumberUnit = 4 };
enum Mapping : std::uint32_t {
  kMappingId = 1,
  kMemoryStart = 2,
  kMemoryLimit = 3,
  kFileOffset = 4,
  kFilename = 5,
  kBuildId = 6,
};
enum Location : std::uint32_t { kLocationId = 1, kMappingOf = 2, kAddress = 3, kLine = 4 };
enum Line : std::uint32_t { kFunctionId = 1 };
enum Function : std::uint32_t { kFunctionOwnId = 1, kName = 2, kSystemName = 3 };
}  // namespace field

class Profile {
 public:
  explicit Profile(const std::map<std::uint64_t, ProcessMaps>& maps) : maps_(maps) {
    string("");  // the first one is always empty
    add_type("buffers", "count");
    add_type("space", "bytes");
    profile_.number(field::kDefaultSampleType, string("space"));
  }

  void add(const json& row, std::uint64_t buffers, const json& frames) {
    const std::uint64_t pid = number_at(row, "pid");
    std::vector<std::uint64_t> locations;
    for (const json& frame : frames) {
      if (frame.is_number_unsigned())
        locations.push_back(location(pid, frame.get<std::uint64_t>()));
    }
    if (locations.empty()) {
      locations.push_back(
          named_location(text_at(row, "name") + " (pid " + std::to_string(pid) + "), not sampled"));
    }
    ProtobufWriter sample;
    sample.numbers(field::kLocationIds, locations);
    sample.numbers(field::kValues, {buffers, buffers * number_at(row, "class_bytes")});
    sample.bytes(field::kLabel, text_label("pool", text_at(row, "pool")));
    sample.bytes(field::kLabel, text_label("client", text_at(row, "name")));
    sample.bytes(field::kLabel, text_label("class", text_at(row, "class")));
    sample.bytes(field::kLabel, number_label("pid", pid, ""));
    sample.bytes(field::kLabel,
                 number_label("oldest", static_cast<std::uint64_t>(real_at(row, "oldest_seconds")),
                              "seconds"));
    profile_.bytes(field::kSample, sample.text());
  }

  std::string finish() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    profile_.number(field::kTimeNanos,
                    static_cast<std::uint64_t>(
                        std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
    for (const std::string& text : strings_) profile_.bytes(field::kStringTable, text);
    return profile_.text();
  }

 private:
  std::uint64_t string(const std::string& text) {
    const auto [place, is_new] = string_ids_.emplace(text, strings_.size());
    if (is_new) strings_.push_back(text);
    return place->second;
  }

  void add_type(const char* type, const char* unit) {
    ProtobufWriter value;
    value.number(field::kType, string(type));
    value.number(field::kUnit, string(unit));
    profile_.bytes(field::kSampleType, value.text());
  }

  std::string text_label(const char* key, const std::string& text) {
    ProtobufWriter label;
    label.number(field::kKey, string(key));
    label.number(field::kText, string(text));
    return label.text();
  }
  std::string number_label(const char* key, std::uint64_t number, const char* unit) {
    ProtobufWriter label;
    label.number(field::kKey, string(key));
    label.number(field::kNumber, number);
    label.number(field::kNumberUnit, string(unit));
    return label.text();
  }

  // 0: the address is in no file's code.
  std::uint64_t mapping(std::uint64_t pid, std::uint64_t address) {
    const auto process = maps_.find(pid);
    const CodeMapping* code = process == maps_.end() ? nullptr : process->second.find(address);
    if (code == nullptr) return 0;
    const auto [place, is_new] =
        mapping_ids_.emplace(std::pair(pid, code->begin), mapping_ids_.size() + 1);
    if (is_new) {
      ProtobufWriter mapping;
      mapping.number(field::kMappingId, place->second);
      mapping.number(field::kMemoryStart, code->begin);
      mapping.number(field::kMemoryLimit, code->end);
      mapping.number(field::kFileOffset, code->file_offset);
      mapping.number(field::kFilename, string(code->file));
      mapping.number(field::kBuildId, string(code->build_id));
      profile_.bytes(field::kMapping, mapping.text());
    }
    return place->second;
  }

  std::uint64_t location(std::uint64_t pid, std::uint64_t address) {
    const auto [place, is_new] = location_ids_.emplace(std::pair(pid, address), ++last_location_);
    if (!is_new) return place->second;
    ProtobufWriter location;
    location.number(field::kLocationId, place->second);
    location.number(field::kMappingOf, mapping(pid, address));
    location.number(field::kAddress, address);
    profile_.bytes(field::kLocation, location.text());
    return place->second;
  }

  // A place that has a name and no address.
  std::uint64_t named_location(const std::string& name) {
    const auto [place, is_new] = named_ids_.emplace(name, ++last_location_);
    if (!is_new) return place->second;
    ProtobufWriter function;
    function.number(field::kFunctionOwnId, place->second);
    function.number(field::kName, string(name));
    function.number(field::kSystemName, string(name));
    profile_.bytes(field::kFunction, function.text());
    ProtobufWriter line;
    line.number(field::kFunctionId, place->second);
    ProtobufWriter location;
    location.number(field::kLocationId, place->second);
    location.bytes(field::kLine, line.text());
    profile_.bytes(field::kLocation, location.text());
    return place->second;
  }

  const std::map<std::uint64_t, ProcessMaps>& maps_;
  ProtobufWriter profile_;
  std::vector<std::string> strings_;
  std::unordered_map<std::string, std::uint64_t> string_ids_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> mapping_ids_;   // pid, begin
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> location_ids_;  // pid, address
  std::map<std::string, std::uint64_t> named_ids_;
  std::uint64_t last_location_ = 0;
};

bool gzip(const std::string& text, std::string& packed, std::string& why) {
  constexpr int kGzip = 15 + 16;  // the largest window, with gzip's head and tail
  z_stream stream{};
  if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    why = "no memory to compress the profile";
    return false;
  }
  packed.resize(::deflateBound(&stream, text.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const bool done = ::deflate(&stream, Z_FINISH) == Z_STREAM_END;
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (!done) why = "the profile cannot be compressed";
  return done;
}

}  // namespace

bool hold_profile(const json& document, const std::map<std::uint64_t, ProcessMaps>& maps,
                  std::string& profile, std::string& why) {
  using ClientClass = std::tuple<std::string, std::uint64_t, std::uint64_t>;
  const auto key_of = [](const json& row) {
    return ClientClass{text_at(row, "pool"), number_at(row, "client"),
                       number_at(row, "class_bytes")};
  };
  Profile made(maps);
  std::map<ClientClass, std::uint64_t> with_stack;
  for (const json& stack : list_at(document, "stacks")) {
    const std::uint64_t buffers = number_at(stack, "buffers");
    made.add(stack, buffers, list_at(stack, "frames"));
    with_stack[key_of(stack)] += buffers;
  }
  for (const json& row : list_at(document, "holders")) {
    const std::uint64_t buffers = number_at(row, "buffers");
    const std::uint64_t known = with_stack[key_of(row)];
    if (buffers > known) made.add(row, buffers - known, json::array());
  }
  return gzip(made.finish(), profile, why);
}

}  // namespace zeropool::ctl
