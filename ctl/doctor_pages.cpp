// Pages: hugepages of each node and size against what the pools would have, and transparent ones.

#include <filesystem>

#include <zeropool/lib/topology.hpp>

#include "ctl/doctor.hpp"
#include "ctl/doctor_files.hpp"
#include "ctl/render.hpp"

namespace zeropool::ctl {
namespace {

std::uint64_t kibibytes(const std::string& size) {
  return size == "1GiB" ? 1048576 : size == "2MiB" ? 2048 : 0;
}

std::string folder_of(const DoctorPaths& paths, std::uint64_t node, std::uint64_t kib) {
  const std::string name = "/hugepages/hugepages-" + std::to_string(kib) + "kB/";
  std::string own = paths.sys + "/devices/system/node/node" + std::to_string(node) + name;
  std::error_code ignored;
  if (std::filesystem::exists(own + "nr_hugepages", ignored)) return own;
  return paths.sys + "/kernel/mm" + name;
}

// What pools have committed there already is not missing.
std::uint64_t committed(const nlohmann::json& daemon, std::uint64_t node, const std::string& size) {
  std::uint64_t bytes = 0;
  for (const auto& pool : list_at(daemon, "pools")) {
    for (const auto& arena : list_at(pool, "arenas")) {
      if (number_at(arena, "node") == node && text_at(arena, "page_size") == size) {
        bytes += number_at(arena, "committed_bytes");
      }
    }
  }
  return bytes;
}

void look_at_wish(const DoctorPaths& paths, const nlohmann::json& daemon,
                  const nlohmann::json& wish, Findings& findings) {
  const std::uint64_t node = number_at(wish, "node");
  const std::string size = text_at(wish, "page_size");
  const std::uint64_t kib = kibibytes(size);
  if (kib == 0) return;
  const std::uint64_t wanted = number_at(wish, "bytes") / (kib << 10);
  const std::string folder = folder_of(paths, node, kib);
  const auto there = number_of(folder + "nr_hugepages");
  const auto free = number_of(folder + "free_hugepages");
  const std::string name = "node " + std::to_string(node);
  if (!there || !free) {
    findings.push_back({Level::kWarn, name + ": this kernel has no pages of " + size,
                        size == "1GiB" ? "take 1GiB out of pages.size in zeropoold.yaml"
                                       : "take 2MiB out of pages.size in zeropoold.yaml"});
    return;
  }
  const std::uint64_t in_pools = committed(daemon, node, size) / (kib << 10);
  const bool enough = *free + in_pools >= wanted;
  std::string what = name + ": " + std::to_string(*there) + " pages of " + size + " are there, " +
                     std::to_string(*free) + " free, " + std::to_string(in_pools) +
                     " in pools; the pools' part of the budget is " + std::to_string(wanted);
  if (enough) {
    findings.push_back({Level::kOk, std::move(what), ""});
    return;
  }
  findings.push_back({Level::kWarn, what + ": they get less, or smaller pages",
                      "echo " + std::to_string(*there + wanted - *free - in_pools) + " > " +
                          folder + "nr_hugepages, then restart zeropoold"});
}

// Without a daemon nobody knows what is wanted: only what is there.
void look_at_counts(const DoctorPaths& paths, Findings& findings) {
  for (const auto& node : lib::read_topology(paths.sys + "/devices/system").nodes) {
    if (!node.has_memory) continue;
    for (const char* size : {"1GiB", "2MiB"}) {
      const std::string folder = folder_of(paths, node.id, kibibytes(size));
      const auto there = number_of(folder + "nr_hugepages");
      if (!there) continue;
      findings.push_back({Level::kOk,
                          "node " + std::to_string(node.id) + ": " + std::to_string(*there) +
                              " pages of " + size + " are there, " +
                              std::to_string(number_of(folder + "free_hugepages").value_or(0)) +
                              " free",
                          ""});
    }
  }
}

bool wants_transparent(const nlohmann::json& daemon) {
  for (const auto& pool : list_at(daemon, "pools")) {
    for (const auto& size : list_at(pool, "page_sizes")) {
      if (size == "thp") return true;
    }
  }
  return false;
}

void look_at_transparent(const DoctorPaths& paths, const nlohmann::json& daemon,
                         Findings& findings) {
  const std::string file = paths.sys + "/kernel/mm/transparent_hugepage/shmem_enabled";
  const std::string line = line_of(file);
  for (const char* good : {"[always]", "[within_size]", "[advise]", "[force]"}) {
    if (line.find(good) == std::string::npos) continue;
    findings.push_back(
        {Level::kOk, std::string("transparent huge pages for shared memory: ") + good, ""});
    return;
  }
  if (!wants_transparent(daemon)) return;
  findings.push_back(
      {Level::kWarn,
       "transparent huge pages for shared memory are off: thp in pages.size is "
       "passed over",
       line.empty() ? "take thp out of pages.size in zeropoold.yaml" : "echo advise > " + file});
}

}  // namespace

void look_at_pages(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings) {
  if (daemon.empty()) look_at_counts(paths, findings);
  for (const auto& wish : list_at(daemon, "page_wishes")) {
    look_at_wish(paths, daemon, wish, findings);
  }
  look_at_transparent(paths, daemon, findings);
}

}  // namespace zeropool::ctl
