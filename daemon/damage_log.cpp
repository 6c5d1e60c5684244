#include "daemon/damage_log.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/config_units.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kLineEveryNs = 60'000'000'000;
constexpr std::size_t kMostNames = 4;

// By DamageLog::Kind.
constexpr const char* kWords[] = {
    "counts beyond what a magazine can hold, cut",
    "magazine entries that name no free slot, dropped",
    "marks that name nobody, written anew",
    "magazines whose owner word names nobody, given back",
    "slots that were in no magazine and with nobody, given back",
    "slots or magazines withheld: a damaged word leaves open which client uses them",
    "bytes that were touched without being committed, punched out",
    "words of share cells that name nobody, cleared",
};

}  // namespace

bool DamageLog::is_first(Kind kind, std::uint64_t amount) {
  if (amount == 0) return false;
  if (!told_[kind]) return told_[kind] = true;
  untold_[kind] += amount;
  return false;
}

// Whoever did it is among them.
std::string DamageLog::attached() const {
  if (pool_.clients.empty()) return "no client is attached now";
  std::string names;
  const std::size_t shown = std::min(pool_.clients.size(), kMostNames);
  for (std::size_t i = 0; i < shown; ++i) {
    const ClientInfo& client = pool_.clients[i];
    names += (i == 0 ? "'" : ", '") + client.name + "' (pid " + std::to_string(client.pid) + ")";
  }
  if (pool_.clients.size() > shown) {
    names += " and " + std::to_string(pool_.clients.size() - shown) + " more";
  }
  return "attached: " + names;
}

void DamageLog::found(std::uint32_t ring, const lib::RingFindings& findings, std::uint64_t now_ns) {
  const std::uint64_t amounts[] = {findings.counts, findings.entries, findings.marks,
                                   findings.owners, findings.lost,    findings.withheld};
  for (std::size_t kind = 0; kind < std::size(amounts); ++kind) {
    // What is withheld is found again by every pass.
    if (kind == kWithheld && told_[kWithheld]) continue;
    if (!is_first(static_cast<Kind>(kind), amounts[kind])) continue;
    const lib::RingPlan& plan = pool_.memory->plan().rings[ring];
    spdlog::warn("pool '{}', node {}, class {}: damage in shared memory: {} {}; {}",
                 pool_.config.name, pool_.memory->plan().shape.arenas[plan.arena].node,
                 format_bytes(plan.class_bytes), amounts[kind], kWords[kind], attached());
    last_line_ns_ = now_ns;
  }
}

void DamageLog::found(const ShareFindings& findings, std::uint64_t now_ns) {
  if (!is_first(kShares, findings.cleared)) return;
  spdlog::warn("pool '{}': damage in shared memory: {} {}; {}", pool_.config.name, findings.cleared,
               kWords[kShares], attached());
  last_line_ns_ = now_ns;
}

void DamageLog::found(const StrayReport& strays, std::uint64_t now_ns) {
  if (!is_first(kStrays, strays.punched_bytes)) return;
  std::string where;
  for (const std::string& part : strays.where) where += (where.empty() ? "" : ", ") + part;
  spdlog::warn("pool '{}': somebody touched memory that is not published: {}, punched out; {}",
               pool_.config.name, where, attached());
  last_line_ns_ = now_ns;
}

void DamageLog::tell(std::uint64_t now_ns, bool now) {
  if (!now && now_ns - last_line_ns_ < kLineEveryNs) return;
  std::string text;
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (untold_[kind] == 0) continue;
    text += (text.empty() ? "" : "; ") + std::to_string(untold_[kind]) + " " + kWords[kind];
  }
  if (text.empty()) return;
  spdlog::warn("pool '{}': more damage since the last line: {}; {}", pool_.config.name, text,
               attached());
  untold_ = {};
  last_line_ns_ = now_ns;
}

}  // namespace zeropool::daemon
