package peer

import (
	"crypto/tls"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Identity returns the certificate that this side shows: the SVID that is valid now. It is asked for each
// handshake.
type Identity func() (*tls.Certificate, error)

// Expect tells whether a verified peer is one that this side talks to. It is asked for each handshake, resumed
// ones included.
type Expect func(spiffeid.ID) bool

// OneOf expects certain peers.
func OneOf(ids ...spiffeid.ID) Expect {
	ids = slices.Clone(ids)
	return func(id spiffeid.ID) bool { return slices.Contains(ids, id) }
}

// AnyIn expects every peer of a trust domain; what it may ask is decided later, request by request.
func AnyIn(domain spiffeid.TrustDomain) Expect {
	return func(id spiffeid.ID) bool { return id.MemberOf(domain) }
}

// ServerConfig is a server that demands a client certificate. TLS 1.3 alone: nothing in the mesh is older. The
// caller sets NextProtos.
//
// Sessions may be resumed. crypto/tls then checks no chain, but VerifyConnection runs with the certificates of
// the ticket, and verifies them as if they had come anew: a client that has since expired, was revoked or
// is no longer expected does not get in with an old ticket.
func ServerConfig(identity Identity, v *Verifier, expect Expect) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ClientAuth:       tls.RequireAnyClientCert, // verified below, by SPIFFE's rules
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return identity() },
		VerifyConnection: verifyConnection(v, AsClient, expect),
	}
}

// ClientConfig is a client that shows its SVID and talks to expected servers alone, whatever host name it dialled.
// The caller sets NextProtos and ServerName (sent, not verified). It keeps no sessions: connections of the mesh
// live long, and a session of a server whose SVID has expired since would cost a failed handshake first. If the
// caller sets a ClientSessionCache, resumed handshakes are verified all the same.
func ClientConfig(identity Identity, v *Verifier, expect Expect) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		InsecureSkipVerify:   true, //nolint:gosec // host names mean nothing here; VerifyConnection verifies by SPIFFE's rules
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return identity() },
		VerifyConnection:     verifyConnection(v, AsServer, expect),
	}
}

// verifyConnection runs on every handshake, also resumed.
func verifyConnection(v *Verifier, role Role, expect Expect) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		p, err := v.Verify(state.PeerCertificates, role, time.Now())
		if err != nil {
			return err
		}
		if !expect(p.ID) {
			return &Refusal{Reason: Unexpected, Peer: p.ID.String(), Text: "this side does not talk to it"}
		}
		return nil
	}
}

// Of returns the peer of a connection that a config of this package has let through.
func Of(state tls.ConnectionState) (Peer, error) {
	if !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
		return Peer{}, refuse(NoCertificate, "the connection has no verified peer")
	}
	leaf := state.PeerCertificates[0]
	id, refusal := identity(leaf)
	if refusal != nil {
		return Peer{}, refusal
	}
	return read(leaf, id), nil
}
