#include "daemon/web_tls.hpp"

#include <memory>
#include <type_traits>

#include <gnutls/x509.h>

namespace zeropool::daemon {
namespace {

struct FreeCredentials {
  void operator()(gnutls_certificate_credentials_t credentials) const {
    gnutls_certificate_free_credentials(credentials);
  }
};
using Credentials =
    std::unique_ptr<std::remove_pointer_t<gnutls_certificate_credentials_t>, FreeCredentials>;

// gnutls only reads it.
gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};
}

}  // namespace

std::string tls_fault(const TlsConfig& tls) {
  gnutls_certificate_credentials_t made = nullptr;
  if (gnutls_certificate_allocate_credentials(&made) != GNUTLS_E_SUCCESS)
    return "gnutls has no memory";
  const Credentials credentials(made);
  const gnutls_datum_t certificate = datum(tls.certificate);
  const gnutls_datum_t key = datum(tls.key);
  const int pair = gnutls_certificate_set_x509_key_mem(credentials.get(), &certificate, &key,
                                                       GNUTLS_X509_FMT_PEM);
  if (pair != GNUTLS_E_SUCCESS) {
    return tls.cert_file + " and " + tls.key_file +
           " are not a PEM certificate and its key: " + gnutls_strerror(pair);
  }
  if (tls.client_ca_file.empty()) return {};
  const gnutls_datum_t authorities = datum(tls.client_ca);
  const int count =
      gnutls_certificate_set_x509_trust_mem(credentials.get(), &authorities, GNUTLS_X509_FMT_PEM);
  if (count <= 0) return tls.client_ca_file + " holds no PEM certificate of an authority";
  return {};
}

std::string tls_priorities(const TlsConfig& tls) {
  std::string text = "NORMAL:-VERS-ALL";
  constexpr const char* kNames[] = {"VERS-TLS1.0", "VERS-TLS1.1", "VERS-TLS1.2", "VERS-TLS1.3"};
  for (auto version = static_cast<int>(tls.min_version);
       version <= static_cast<int>(tls.max_version); ++version) {
    text += std::string(":+") + kNames[version];
  }
  return text;
}

bool client_is_welcome(gnutls_session_t session, ClientAuth client_auth) {
  if (client_auth == ClientAuth::kNone || client_auth == ClientAuth::kRequest) return true;
  unsigned count = 0;
  const bool given = gnutls_certificate_get_peers(session, &count) != nullptr && count > 0;
  if (client_auth == ClientAuth::kRequireAny) return given;
  if (!given) return client_auth == ClientAuth::kVerifyIfGiven;
  unsigned faults = 0;
  gnutls_typed_vdata_st purpose{};
  purpose.type = GNUTLS_DT_KEY_PURPOSE_OID;
  purpose.data = reinterpret_cast<unsigned char*>(const_cast<char*>(GNUTLS_KP_TLS_WWW_CLIENT));
  return gnutls_certificate_verify_peers(session, &purpose, 1, &faults) == GNUTLS_E_SUCCESS &&
         faults == 0;
}

}  // namespace zeropool::daemon
