package authority

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/identity/revocation"
)

const stateFormat = 1

// state is what the authority must not forget. It holds no private keys, only their names.
type state struct {
	Format      int          `json:"format"`
	TrustDomain string       `json:"trust_domain"`
	Sequence    uint64       `json:"sequence"` // of the bundle
	Roots       []root       `json:"roots"`    // oldest first; never forgotten, see Listed
	Generations []generation `json:"generations"`
	Next        int          `json:"next"` // number of the next root or generation
	Pending     int          `json:"pending,omitempty"`

	RevokedSequence uint64             `json:"revoked_sequence"`
	Revoked         []revocation.Entry `json:"revoked,omitempty"`
}

// root is a certificate that everyone trusts, and where to find its key.
type root struct {
	Chain     [][]byte  `json:"chain"`         // DER; of an upstream authority its CA certificates, the root last
	Key       string    `json:"key,omitempty"` // name of our own root's key; "" for an upstream authority
	Published time.Time `json:"published"`
	Listed    bool      `json:"listed"` // in the bundle; an expired root is not, but comes back if the clock does
}

// generation is one intermediate and the key that signs JWT-SVIDs in the same time.
type generation struct {
	Number    int       `json:"number"`
	Chain     [][]byte  `json:"chain"` // DER; the intermediate first, without the root
	Key       string    `json:"key"`
	Begins    time.Time `json:"begins"`
	Ends      time.Time `json:"ends"`
	JWTKey    string    `json:"jwt_key"`
	JWTPublic []byte    `json:"jwt_public"` // PKIX
	KeyID     string    `json:"key_id"`
	Published time.Time `json:"published"`
	From      time.Time `json:"from"` // signs from then on
}

// valid tells whether the intermediate can be used at a time.
func (g *generation) valid(now time.Time) bool {
	return !now.Before(g.Begins) && now.Before(g.Ends)
}

// clone returns a deep copy.
func (s *state) clone() *state {
	c := *s
	c.Roots = slices.Clone(s.Roots)
	c.Generations = slices.Clone(s.Generations)
	c.Revoked = slices.Clone(s.Revoked)
	return &c // certificates themselves are never changed
}

// encode returns the state as it is stored.
func (s *state) encode() ([]byte, error) { return json.Marshal(s) }

// decodeState reads what encode returned.
func decodeState(data []byte, domain string) (*state, error) {
	s := new(state)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("reading the authority's state: %w", err)
	}
	switch {
	case s.Format != stateFormat:
		return nil, fmt.Errorf("reading the authority's state: format %d is not known here", s.Format)
	case s.TrustDomain != domain:
		return nil, fmt.Errorf("reading the authority's state: it is that of trust domain %q, not of %q, which needs a state directory of its own", s.TrustDomain, domain)
	case len(s.Roots) == 0:
		return nil, errors.New("reading the authority's state: it has no root")
	}
	return s, nil
}
