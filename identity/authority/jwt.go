package authority

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	maxAudiences = 32
	maxAudience  = 2048 // bytes
)

// JWTRequest asks for a JWT-SVID.
type JWTRequest struct {
	ID        spiffeid.ID
	Audiences []string      // whom it is shown to; at least one
	TTL       time.Duration // 0: the default; at most 24 h
	Node      string        // where the workload runs; refused if that is revoked
}

// JWTSVID is an issued JWT-SVID.
type JWTSVID struct {
	ID              spiffeid.ID
	Token           string // JWS in compact form
	Issued, Expires time.Time
}

// claims of a JWT-SVID (JWT-SVID, section 3; RFC 7519, section 4.1).
type claims struct {
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
}

// SignJWT issues a JWT-SVID (SPIFFE JWT-SVID), signed with ES256 by a key of the bundle. A revoked service gets
// none; those it holds go on until they expire, in minutes. Errors are those of SignX509.
func (a *Authority) SignJWT(_ context.Context, r JWTRequest) (*JWTSVID, error) {
	v, now := a.view.Load(), wall().Truncate(time.Second)
	if err := a.check(v, r.ID, r.Node); err != nil {
		return nil, fmt.Errorf("signing a JWT-SVID: %w", err)
	}
	ttl, err := lifetime(r.TTL, a.config.JWTTTL)
	if err == nil {
		err = checkAudiences(r.Audiences)
	}
	if err != nil {
		return nil, fmt.Errorf("signing a JWT-SVID for %s: %w", r.ID, err)
	}
	by := v.signing(now)
	if by == nil {
		return nil, fmt.Errorf("signing a JWT-SVID for %s: %w", r.ID, ErrNoIssuer)
	}
	// The key leaves the bundle with its generation; a token must not outlive it.
	out := &JWTSVID{ID: r.ID, Issued: now, Expires: now.Add(ttl)}
	if out.Expires.After(by.cert.NotAfter) {
		out.Expires = by.cert.NotAfter
	}
	payload, err := json.Marshal(claims{
		Subject: r.ID.String(), Audience: r.Audiences, Expires: out.Expires.Unix(), Issued: now.Unix(), ID: rand.Text(),
	})
	if err != nil {
		return nil, fmt.Errorf("signing a JWT-SVID for %s: %w", r.ID, err)
	}
	signed, err := by.jwt.Sign(payload)
	if err == nil {
		out.Token, err = signed.CompactSerialize()
	}
	if err != nil {
		return nil, fmt.Errorf("signing a JWT-SVID for %s: %w", r.ID, err)
	}
	return out, nil
}

// checkAudiences refuses none, too many, and empty ones.
func checkAudiences(audiences []string) error {
	if len(audiences) == 0 || len(audiences) > maxAudiences {
		return fmt.Errorf("a JWT-SVID needs from 1 to %d audiences", maxAudiences)
	}
	for _, audience := range audiences {
		if audience == "" || len(audience) > maxAudience {
			return errors.New("an audience is empty or too long")
		}
	}
	return nil
}
