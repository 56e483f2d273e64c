package engine

import (
	"crypto/tls"
	"net/http"

	"github.com/palisade-security/palisade/proxy"
)

// handshakeOf names what the handshake settled.
func handshakeOf(hr *http.Request) proxy.TLS {
	s := hr.TLS
	if s == nil {
		return proxy.TLS{}
	}
	version := "1.3"
	if s.Version == tls.VersionTLS12 {
		version = "1.2"
	}
	group := ""
	if s.CurveID != 0 {
		group = s.CurveID.String()
	}
	return proxy.TLS{Version: version, Cipher: tls.CipherSuiteName(s.CipherSuite), Group: group, Server: s.ServerName}
}
