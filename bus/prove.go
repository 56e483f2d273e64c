package bus

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
)

const maxChain = 8 // certificates

// prove returns who connects: by certificate, or by token where there is no certificate. If there are both, they must
// name the same identity.
func (a *Authorizer) prove(ctx context.Context, r *jwt.AuthorizationRequestClaims, now time.Time) (Identity, error) {
	chain, err := presented(r.TLS)
	if err != nil {
		return Identity{}, err
	}
	token := r.ConnectOptions.Token
	var byCertificate, byToken Identity
	if len(chain) > 0 {
		if byCertificate, err = a.certificate(chain, now); err != nil {
			return Identity{}, err
		}
	}
	if token != "" {
		if byToken, err = a.token(ctx, token); err != nil {
			return Identity{}, err
		}
	}
	switch {
	case len(chain) == 0 && token == "":
		return Identity{}, errors.New("it shows neither certificate nor token")
	case len(chain) == 0:
		return byToken, nil
	case token != "" && byToken.ID != byCertificate.ID:
		return Identity{}, errors.New("certificate and token name different identities")
	}
	return byCertificate, nil
}

// presented returns the chain that the server saw in its handshake, leaf first.
func presented(t *jwt.ClientTLS) ([]*x509.Certificate, error) {
	if t == nil {
		return nil, nil
	}
	texts := t.Certs
	if len(t.VerifiedChains) > 0 {
		texts = t.VerifiedChains[0]
	}
	if len(texts) > maxChain {
		return nil, errors.New("its certificate chain is too long")
	}
	var chain []*x509.Certificate
	for _, text := range texts {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
			return nil, errors.New("its certificate cannot be read")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("its certificate cannot be read")
		}
		chain = append(chain, certificate)
	}
	return chain, nil
}

// certificate checks the leaf and has the chain verified.
func (a *Authorizer) certificate(chain []*x509.Certificate, now time.Time) (Identity, error) {
	if a.options.Certificate == nil {
		return Identity{}, errors.New("certificates prove nothing here")
	}
	leaf := chain[0]
	switch {
	case leaf.IsCA:
		return Identity{}, errors.New("its certificate is an authority's")
	case len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe": // X.509-SVID, section 2
		return Identity{}, errors.New("its certificate names no single SPIFFE ID")
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return Identity{}, errors.New("its certificate is not valid now")
	}
	id, mark, err := a.options.Certificate(chain)
	if err != nil {
		return Identity{}, fmt.Errorf("its certificate is not trusted: %w", err)
	}
	if id != leaf.URIs[0].String() {
		return Identity{}, errors.New("its certificate was verified as another's")
	}
	return Identity{ID: id, Mark: mark, Expires: leaf.NotAfter}, nil
}

func (a *Authorizer) token(ctx context.Context, token string) (Identity, error) {
	if a.options.Token == nil {
		return Identity{}, errors.New("tokens prove nothing here")
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	who, err := a.options.Token(ctx, token)
	if err != nil {
		return Identity{}, fmt.Errorf("its token is not trusted: %w", err)
	}
	if who.ID == "" {
		return Identity{}, errors.New("its token names no identity")
	}
	return who, nil
}
