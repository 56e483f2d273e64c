package engine

import (
	"crypto/tls"

	"github.com/palisade-security/palisade/proxy"
)

// handshake names what a handshake settled.
func handshake(s *tls.ConnectionState) proxy.TLS {
	version := "1.3"
	if s.Version == tls.VersionTLS12 {
		version = "1.2"
	}
	group := ""
	if s.CurveID != 0 {
		group = s.CurveID.String()
	}
	return proxy.TLS{Version: version, Cipher: cipherName(s.CipherSuite), Group: group, Server: s.ServerName}
}

// cipherName is tls.CipherSuiteName, which builds the list of all suites at every call, without that for the
// suites that listeners offer.
func cipherName(id uint16) string {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return "TLS_AES_128_GCM_SHA256"
	case tls.TLS_AES_256_GCM_SHA384:
		return "TLS_AES_256_GCM_SHA384"
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return "TLS_CHACHA20_POLY1305_SHA256"
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
		return "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
		return "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	}
	return tls.CipherSuiteName(id)
}
