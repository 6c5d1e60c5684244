#include "daemon/web_config.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <string_view>
#include <utility>

#include "daemon/basic_auth.hpp"
#include "daemon/config_file.hpp"
#include "daemon/config_section.hpp"
#include "daemon/config_tree.hpp"
#include "daemon/config_values.hpp"
#include "daemon/web_tls.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::size_t kMaxPathBytes = 4096;
constexpr std::size_t kMaxUserBytes = 256;
constexpr std::size_t kMaxHeaderBytes = 4096;
constexpr std::size_t kMaxUsers = 256;

constexpr ConfigWords<ClientAuth, 5> kClientAuth = {
    {{"NoClientCert", ClientAuth::kNone},
     {"RequestClientCert", ClientAuth::kRequest},
     {"RequireAnyClientCert", ClientAuth::kRequireAny},
     {"VerifyClientCertIfGiven", ClientAuth::kVerifyIfGiven},
     {"RequireAndVerifyClientCert", ClientAuth::kRequireVerified}}};
constexpr ConfigWords<TlsVersion, 4> kVersions = {{{"TLS10", TlsVersion::kTls10},
                                                   {"TLS11", TlsVersion::kTls11},
                                                   {"TLS12", TlsVersion::kTls12},
                                                   {"TLS13", TlsVersion::kTls13}}};
// Those that the shared form knows.
constexpr std::array<std::string_view, 5> kHeaders = {
    "Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options",
    "X-Frame-Options", "X-XSS-Protection"};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

class Reader {
 public:
  Reader(std::string path, WebConfigOutcome& outcome)
      : folder_(folder_of(path)), outcome_(outcome) {}

  WebConfig read(const ConfigTree& root, ConfigReport& report) {
    WebConfig config;
    const ConfigSection section({&root, "", &report},
                                {"tls_server_config", "http_server_config", "basic_auth_users"});
    if (const auto tls = section.find("tls_server_config")) config.tls = read_tls(*tls);
    if (const auto http = section.find("http_server_config")) read_http(*http, config);
    if (const auto users = section.find("basic_auth_users")) read_users(*users, config);
    return config;
  }

 private:
  TlsConfig read_tls(const ConfigField& field) {
    const ConfigSection section(field, {"cert_file", "key_file", "client_auth_type",
                                        "client_ca_file", "min_version", "max_version"});
    TlsConfig tls;
    section.read("client_auth_type", tls.client_auth, one_of(kClientAuth));
    section.read("min_version", tls.min_version, one_of(kVersions));
    section.read("max_version", tls.max_version, one_of(kVersions));
    read_named(section, "cert_file", tls.cert_file, tls.certificate);
    read_named(section, "key_file", tls.key_file, tls.key);
    read_named(section, "client_ca_file", tls.client_ca_file, tls.client_ca);
    if (!field.report->clean()) return tls;
    if (tls.cert_file.empty() || tls.key_file.empty()) {
      field.refuse("needs both cert_file and key_file");
    } else if (tls.min_version > tls.max_version) {
      field.refuse("min_version is above max_version");
    } else if (tls.client_auth != ClientAuth::kNone && tls.client_ca_file.empty()) {
      field.refuse("client_auth_type asks for certificates of clients: it needs client_ca_file");
    } else if (tls.client_auth == ClientAuth::kNone && !tls.client_ca_file.empty()) {
      field.refuse("client_ca_file has no effect without client_auth_type");
    } else if (const std::string fault = tls_fault(tls); !fault.empty()) {
      field.refuse(fault);
    }
    return tls;
  }

  // The file that a key names, and what it holds.
  void read_named(const ConfigSection& section, std::string_view key, std::string& path,
                  std::string& content) {
    const std::optional<ConfigField> field = section.find(key);
    if (!field) return;
    const std::optional<std::string> given = text_of("a file", kMaxPathBytes)(*field);
    if (!given) return;
    path = given->front() == '/' ? *given : folder_ + "/" + *given;
    outcome_.files.push_back(path);
    if (const std::string fault = read_config_file(path, content); !fault.empty()) {
      field->refuse(path + " " + fault);
    }
  }

  static void read_http(const ConfigField& field, WebConfig& config) {
    const ConfigSection section(field, {"http2", "headers"});
    bool http2 = false;  // said by all who share the form; this server speaks 1.1, as they may
    section.read("http2", http2, read_bool);
    const std::optional<ConfigField> headers = section.find("headers");
    if (!headers) return;
    const ConfigSection known(*headers,
                              {kHeaders[0], kHeaders[1], kHeaders[2], kHeaders[3], kHeaders[4]});
    for (const std::string_view name : kHeaders) {
      std::string value;
      known.read(name, value, text_of("a header", kMaxHeaderBytes));
      if (!value.empty()) config.headers[std::string(name)] = value;
    }
  }

  static void read_users(const ConfigField& field, WebConfig& config) {
    const ConfigTree& map = *field.node;
    if (map.kind == ConfigTree::Kind::kNull) return;
    if (map.kind != ConfigTree::Kind::kMap || map.items.size() > kMaxUsers) {
      field.refuse("must be a map of at most " + std::to_string(kMaxUsers) +
                   " users to bcrypt hashes");
      return;
    }
    refuse_duplicate_keys(field);
    for (std::size_t i = 0; i < map.items.size(); ++i) {
      const std::string& user = map.keys[i].text;
      const ConfigField entry{&map.items[i], join_key(field.key, user), field.report};
      if (user.empty() || user.size() > kMaxUserBytes || user.find(':') != std::string::npos) {
        entry.refuse("a user's name has 1 to 256 bytes and no colon");
        continue;
      }
      const std::optional<std::string_view> hash = read_scalar(entry, "a bcrypt hash");
      if (!hash) continue;
      // The value itself is nobody's business in a log.
      if (const std::string fault = bcrypt_fault(*hash); !fault.empty()) {
        entry.refuse("the value " + fault);
      } else {
        config.users[user] = std::string(*hash);
      }
    }
  }

  std::string folder_;
  WebConfigOutcome& outcome_;
};

}  // namespace

WebConfigOutcome load_web_config(const std::string& path) {
  WebConfigOutcome outcome;
  outcome.files.push_back(path);
  ConfigReport report(path);
  WebConfig config;
  try {
    std::string text;
    if (const std::string fault = read_config_file(path, text); !fault.empty()) {
      report.refuse({}, "", fault);
    } else {
      std::optional<ConfigTextFault> text_fault = find_text_fault(text);
      ConfigTreeOutcome built;
      if (!text_fault) {
        built = build_config_tree(text);
        text_fault = built.fault;
      }
      if (text_fault) {
        report.refuse(text_fault->position, "", text_fault->message);
      } else {
        config = Reader(path, outcome).read(*built.tree, report);
      }
    }
  } catch (const std::exception& error) {
    report.refuse({}, "", std::string("cannot be read: ") + error.what());
  }
  const bool clean = report.clean();
  outcome.errors = std::move(report).finish({}).errors;
  if (clean) outcome.config = std::move(config);
  return outcome;
}

}  // namespace zeropool::daemon
