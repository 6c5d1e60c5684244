#pragma once
// The web configuration file, in the form that Prometheus exporters share: TLS, passwords, headers.
//
//   tls_server_config: {cert_file, key_file, client_auth_type, client_ca_file, min_version, max_version}
//   http_server_config: {http2, headers}
//   basic_auth_users: {NAME: BCRYPT}
//
// Thread safety: functions of their arguments; a WebConfig is a value.
// Errors: as of zeropoold.yaml: file, line, column, key, what is allowed. Keys of the shared form that this server cannot
// honour (cipher_suites, curve_preferences, ...) are refused and not passed over: who sets them means them.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.hpp"

namespace zeropool::daemon {

enum class ClientAuth {
  kNone,            // NoClientCert
  kRequest,         // RequestClientCert: asked for, nothing checked
  kRequireAny,      // RequireAnyClientCert: one must come
  kVerifyIfGiven,   // VerifyClientCertIfGiven: one that comes must be good
  kRequireVerified  // RequireAndVerifyClientCert
};

enum class TlsVersion { kTls10, kTls11, kTls12, kTls13 };

struct TlsConfig {
  std::string cert_file;  // absolute; what the file gives is relative to the file's folder
  std::string key_file;
  std::string client_ca_file;  // empty: none
  ClientAuth client_auth = ClientAuth::kNone;
  TlsVersion min_version = TlsVersion::kTls12;
  TlsVersion max_version = TlsVersion::kTls13;
  // What the files hold.
  std::string certificate;
  std::string key;
  std::string client_ca;
  bool operator==(const TlsConfig&) const = default;
};

struct WebConfig {
  std::optional<TlsConfig> tls;
  std::map<std::string, std::string> users;    // bcrypt hashes
  std::map<std::string, std::string> headers;  // of every answer
  bool operator==(const WebConfig&) const = default;

  bool authenticates() const {
    return !users.empty() || (tls && tls->client_auth == ClientAuth::kRequireVerified);
  }
};

struct WebConfigOutcome {
  std::optional<WebConfig> config;
  std::vector<ConfigError> errors;
  std::vector<std::string>
      files;  // what it was made from: the file itself, and those that it names
};

// Reads the file and those that it names, and makes sure that key and certificates go together.
WebConfigOutcome load_web_config(const std::string& path);

}  // namespace zeropool::daemon
