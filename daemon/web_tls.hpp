#pragma once
// TLS by gnutls, as libmicrohttpd speaks it.
//
// Thread safety: functions of their arguments; a session's are its server thread's.

#include <string>

#include <gnutls/gnutls.h>

#include "daemon/web_config.hpp"

namespace zeropool::daemon {

// Why certificate, key and authorities cannot be used (together); empty when they can.
std::string tls_fault(const TlsConfig& tls);

// The versions as gnutls writes them, without what nobody should speak.
std::string tls_priorities(const TlsConfig& tls);

// Whether the session's client shows what `client_auth` asks for; call it when the handshake is done.
bool client_is_welcome(gnutls_session_t session, ClientAuth client_auth);

}  // namespace zeropool::daemon
