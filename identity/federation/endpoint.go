// Package federation exchanges trust bundles with other trust domains: it serves ours at a bundle endpoint and polls
// theirs, in both profiles of the standard (SPIFFE Federation, section 5: https_web and https_spiffe). Which
// domains to trust is declared in the model; a bundle says only how to recognise their members, and a peer
// of a federated domain still needs a route that lets it in.
package federation

import (
	"crypto/tls"
	"net/http"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	"github.com/palisade-security/palisade/identity/peer"
)

// Handler serves the bundle that source returns, as JSON (SPIFFE Trust Domain and Bundle, section 4). It is public: it
// holds nothing secret and asks nobody who they are. Mount it at one path.
func Handler(source func() *spiffebundle.Bundle) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		data, err := source().Marshal()
		if err != nil {
			http.Error(w, "the bundle cannot be shown", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(data)
	})
}

// EndpointConfig is the TLS of an endpoint of profile https_spiffe: it shows our SVID and asks for none. The other
// profile needs a certificate that browsers would take.
func EndpointConfig(identity peer.Identity) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return identity() },
	}
}
