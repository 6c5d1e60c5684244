#include <map>
#include <string>

#include <doctest/doctest.h>

#include "ctl/hold_profile.hpp"
#include "ctl/process_maps.hpp"
#include "ctl/render.hpp"

// zeropoolctl is a program and no library: what is tested is compiled in here.
#include "ctl/hold_profile.cpp"    // NOLINT(bugprone-suspicious-include)
#include "ctl/process_maps.cpp"    // NOLINT(bugprone-suspicious-include)
#include "ctl/render_holders.cpp"  // NOLINT(bugprone-suspicious-include)

namespace zeropool::ctl {
namespace {

constexpr const char* kMaps =
    "00400000-00401000 r--p 00000000 08:01 17    /usr/bin/app\n"
    "00401000-00405000 r-xp 00001000 08:01 17    /usr/bin/app\n"
    "7f0000000000-7f0000002000 rw-p 00000000 00:00 0\n"
    "7f0000002000-7f0000003000 r-xp 00002000 08:01 18    /lib/with space.so (deleted)\n"
    "7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0     [vdso]\n"
    "nonsense\n"
    "5-4 r-xp 0 0:0 0 /backwards\n";

std::string note(std::uint32_t name_bytes, std::uint32_t value_bytes, std::uint32_t type,
                 const std::string& rest) {
  const Elf64_Nhdr header{name_bytes, value_bytes, type};
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + rest;
}

}  // namespace

TEST_CASE("code of files is found by address, and nothing else") {
  ProcessMaps maps;
  maps.code = parse_maps(kMaps);
  REQUIRE(maps.code.size() == 2);
  CHECK(maps.find(0x400fff) == nullptr);
  CHECK(maps.find(0x401000)->file == "/usr/bin/app");
  CHECK(maps.find(0x404fff)->file == "/usr/bin/app");
  CHECK(maps.find(0x405000) == nullptr);
  CHECK(maps.find(~std::uint64_t{0}) == nullptr);
  CHECK(frame_text(maps, 0x401234) == "app+0x1234");
  CHECK(frame_text(maps, 0x7f0000002010) == "with space.so (deleted)+0x2010");
  CHECK(frame_text(maps, 0x99) == "0x99");
  CHECK(parse_maps("").empty());
}

TEST_CASE("a build id is found among notes; notes that lie about their sizes have none") {
  const std::string id = note(4, 4, 3, std::string("GNU\0\xab\xcd\x01\xff", 8));
  CHECK(build_id_of_notes(id) == "abcd01ff");
  CHECK(build_id_of_notes(note(4, 4, 1, std::string("GNU\0xxxx", 8)) + id) == "abcd01ff");
  CHECK(build_id_of_notes("").empty());
  CHECK(build_id_of_notes(id.substr(0, id.size() - 1)).empty());
  CHECK(build_id_of_notes(note(0xffffffffU, 4, 3, id)).empty());
  CHECK(build_id_of_notes(note(4, 0xffffffffU, 3, id)).empty());
  CHECK(build_id_of_notes(note(0, 0, 1, "")).empty());
}

TEST_CASE("this process has code, of files with build ids or without") {
  const ProcessMaps maps = read_process_maps(static_cast<std::uint64_t>(::getpid()));
  CHECK(maps.why.empty());
  CHECK(maps.find(reinterpret_cast<std::uintptr_t>(&parse_maps)) != nullptr);
  CHECK_FALSE(read_process_maps(0x7fffffff).why.empty());
}

TEST_CASE(
    "a document of another version, or of nobody, is shown as what it is, and makes a profile") {
  std::string profile;
  std::string why;
  for (const char* text : {"{}", "[]", R"({"holders": [], "stacks": []})",
                           R"({"holders": [{}], "stacks": [{"frames": ["x", -1, 1.5]}]})"}) {
    CAPTURE(text);
    const nlohmann::json document = nlohmann::json::parse(text);
    CHECK_FALSE(render_holders(document, {}).empty());
    CHECK(hold_profile(document, {}, profile, why));
    CHECK(profile.substr(0, 2) == "\x1f\x8b");
  }
  CHECK(render_holders(nlohmann::json::object(), {}) == "nobody holds a buffer\n");
}

TEST_CASE("what an answer leaves out is said, of rows, stacks and pools") {
  const nlohmann::json document = nlohmann::json::parse(
      R"({"pools": [{"pool": "a", "complete": true}, {"pool": "b", "complete": false}],
          "holders_left_out": {"count": 3, "bytes": 8192},
          "stacks_left_out": {"count": 1200, "bytes": 4096}})");
  const std::string text = render_holders(document, {});
  CHECK(text.find("not read all that there is of pool b") != std::string::npos);
  CHECK(text.find("pool a") == std::string::npos);
  CHECK(text.find("3 more rows, of 8.00 KiB in all") != std::string::npos);
  CHECK(text.find("more stacks, of 4.00 KiB in all") != std::string::npos);
}

TEST_CASE("names of clients and files are shown without what a terminal obeys") {
  const nlohmann::json document = nlohmann::json::parse(
      R"({"holders": [{"name": "\u001b[2J", "buffers": 1, "exact": true}],
          "stacks": [{"name": "\u001b[2J", "pid": 1, "frames": [16]}]})");
  std::map<std::uint64_t, ProcessMaps> maps;
  maps[1].code = {{0, 32, 0, "/\x1b[31m", ""}};
  CHECK(render_holders(document, maps).find('\x1b') == std::string::npos);
}

TEST_CASE("numbers of the wire format are written in as many bytes as they need") {
  ProtobufWriter writer;
  writer.number(1, 0);  // left out
  writer.number(1, 300);
  writer.numbers(2, {0, 1, ~std::uint64_t{0}});
  writer.bytes(3, "ab");
  CHECK(writer.text() ==
        std::string("\x08\xac\x02\x12\x0c\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                    "\x1a\x02"
                    "ab",
                    21));
}

}  // namespace zeropool::ctl
