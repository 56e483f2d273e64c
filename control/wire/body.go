package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/model"
)

// TrustBody is what every proxy needs to know whom to believe.
type TrustBody struct {
	Bundles map[string]json.RawMessage `json:"bundles"`        // trust domain to its bundle (SPIFFE JSON)
	Revoked json.RawMessage            `json:"revoked"`        // as revocation.List.Encode writes it
	JWKS    json.RawMessage            `json:"jwks,omitempty"` // keys that sign transaction tokens (RFC 7517)
	Keys    [][]byte                   `json:"keys"`           // PKIX: those that sign statements from now on
}

// PlacesBody is where the sidecars of the services take calls that a proxy may call: service to host:port.
type PlacesBody map[string][]string

// Where statements lie. A proxy may watch its own keys and those for all, and nothing else.
const (
	Bucket   = "fleet"
	TrustKey = "all.trust"
	ForAll   = "all.*" // pattern

	sliceKey  = ".slice"
	trialKey  = ".trial"
	placesKey = ".places"
)

// ForOne is the pattern of the keys of one identity.
func ForOne(id string) string { return bus.SubjectToken(id) + ".*" }

// SliceKey is where the slice of an identity lies.
func SliceKey(id string) string { return bus.SubjectToken(id) + sliceKey }

// TrialKey is where a slice lies that some instances of an identity try first.
func TrialKey(id string) string { return bus.SubjectToken(id) + trialKey }

// PlacesKey is where an identity finds its callees.
func PlacesKey(id string) string { return bus.SubjectToken(id) + placesKey }

// Subjects of requests. The third token is the asker. JWT-SVIDs are not asked for over the bus: a server of it could read them, or
// ask for those of others.
const (
	SignSubject   = "control.sign."
	ReportSubject = "control.report."
	AskerToken    = 3
)

// Events are delivered to a stream, each message with events as lines of JSON. The second token of the subject is who sends it.
const (
	EventsStream  = "events"
	EventsSubject = "events."
	MaxEvents     = 512 << 10 // bytes of a message, unless one event has more
	MaxEvent      = 1 << 20   // bytes of one event
)

// IsBus tells whether an identity may be a server of the bus: control, whose own server it is, or a server of a cluster,
// whose SVID names it bus/NAME. Any other identity could read what proxies ask if it stood between.
func IsBus(domain, id string) bool {
	return id == model.ControlID(domain) || strings.HasPrefix(id, "spiffe://"+domain+"/bus/")
}

// Permissions are what a proxy may do on the bus on behalf of control.
func Permissions(id string) bus.Permissions {
	token := bus.SubjectToken(id)
	return bus.MayWatch(Bucket, ForOne(id)).Add(bus.MayWatch(Bucket, ForAll)).
		Add(bus.MayRequest(SignSubject + token)).Add(bus.MayRequest(ReportSubject + token)).
		Add(bus.MayRequest(EventsSubject + token))
}

const maxKeys = 16

// ParseKeys reads keys that sign statements: at least one, all of a kind that is taken.
func ParseKeys(pkix [][]byte) ([]crypto.PublicKey, error) {
	if len(pkix) == 0 || len(pkix) > maxKeys {
		return nil, fmt.Errorf("reading control's keys: there are %d, expected 1 to %d", len(pkix), maxKeys)
	}
	var out []crypto.PublicKey
	for _, der := range pkix {
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("reading control's keys: %w", err)
		}
		switch key.(type) {
		case *ecdsa.PublicKey, ed25519.PublicKey:
			out = append(out, key)
		default:
			return nil, errors.New("reading control's keys: one is neither ECDSA nor Ed25519")
		}
	}
	return out, nil
}
