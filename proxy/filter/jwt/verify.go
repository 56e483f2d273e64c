package jwt

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/palisade-security/palisade/proxy"
)

// verified is a token that was found good, with what must still hold when it comes again.
type verified struct {
	provider *provider
	user     *proxy.User
	keys     *keySet   // the set that verified it
	until    time.Time // exp and skew
	epoch    uint64
}

// errNoKeys means that a token cannot be decided: its provider's keys have never been seen.
var errNoKeys = errors.New("the provider's keys are not known yet")

// authenticate verifies a token or finds that it has done so before.
func (a *Authenticator) authenticate(ctx context.Context, token string) (*verified, error) {
	if a.cache == nil {
		return a.verify(ctx, token)
	}
	id := identify(token)
	now, epoch := a.now(), a.epoch.Load()
	if v := a.cache.get(id); v != nil {
		if v.epoch == epoch && now.Before(v.until) && v.keys == v.provider.keys() {
			return v, nil
		}
		a.cache.drop(id, v)
	}
	v, err := a.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	v.epoch = epoch // as read before verifying: a revocation meanwhile wins
	a.cache.put(id, v)
	return v, nil
}

// identify hashes a token, the usual one without a copy on the heap.
func identify(token string) tokenID {
	var few [1 << 10]byte
	return sha256.Sum256(append(few[:0], token...))
}

// verify does all checks of RFC 8725, section 3, and RFC 9068, section 4. Until the signature is verified the
// claims serve one purpose: "iss" selects the provider, whose keys alone are looked at.
func (a *Authenticator) verify(ctx context.Context, token string) (*verified, error) {
	parts, err := split(token)
	if err != nil {
		return nil, err
	}
	h, err := parseHead(parts.header)
	if err != nil {
		return nil, err
	}
	payload, err := decodeSegment(parts.payload)
	if err != nil {
		return nil, err
	}
	object, err := parseObject(payload, tokenBounds())
	if err != nil {
		return nil, err
	}
	claims := claimSet(object)
	p, err := a.selectProvider(claims)
	if err != nil {
		return nil, err
	}
	keys, err := p.verifySignature(ctx, h, parts)
	if err != nil {
		return nil, err
	}
	now := a.now()
	expires, err := claims.checkTimes(now, p.skew)
	if err != nil {
		return nil, err
	}
	if err := claims.checkAudience(p.audience); err != nil {
		return nil, err
	}
	if claims["cnf"] != nil { // RFC 7800: by DPoP (RFC 9449) or a certificate (RFC 8705). To take it as a bearer token would undo that.
		return nil, refuse(CodeBound, "the token is bound to a key, and nothing proves here that its sender has it")
	}
	user, err := p.read(claims, expires)
	if err != nil {
		return nil, err
	}
	return &verified{provider: p, user: user, keys: keys, until: expires.Add(p.skew)}, nil
}

// selectProvider finds the provider by the exact "iss" (RFC 8725, section 3.8).
func (a *Authenticator) selectProvider(claims claimSet) (*provider, error) {
	iss, ok := claims["iss"].(string)
	if !ok {
		return nil, refuse(CodeMissingClaim, "the token has no iss")
	}
	p := a.providers[iss]
	if p == nil {
		return nil, refuse(CodeWrongIssuer, "no provider of this fleet has the token's issuer")
	}
	return p, nil
}

// verifySignature checks algorithm, type, key and signature, in this order, and returns the key set used.
func (p *provider) verifySignature(ctx context.Context, h head, parts compact) (*keySet, error) {
	alg := p.algorithms[h.alg]
	if alg == nil {
		return nil, refuse(CodeAlgorithm, "the provider does not sign with this algorithm")
	}
	if !slices.Contains(p.types, mediaType(h.typ)) {
		return nil, refuse(CodeType, "the token is not of an accepted type")
	}
	signature, err := decodeSegment(parts.signature)
	if err != nil {
		return nil, err
	}
	keys, k, err := p.findKey(ctx, h.kid, alg)
	if err != nil {
		return nil, err
	}
	// The method checks the signature's length: two numbers of the curve's size for ECDSA (RFC 7518, 3.4).
	if err := alg.method.Verify(parts.signed, signature, k.public); err != nil {
		return nil, refuse(CodeSignature, "the signature does not fit")
	}
	return keys, nil
}

// findKey looks the key up, and once more after a fetch if it is not there.
func (p *provider) findKey(ctx context.Context, id string, alg *algorithm) (*keySet, *key, error) {
	keys := p.keys()
	if k := keys.find(id, alg); k != nil {
		return keys, k, nil
	}
	if p.source != nil {
		if err := p.source.again(ctx); err != nil {
			return nil, nil, err
		}
		keys = p.keys()
	}
	if keys == nil {
		return nil, nil, errNoKeys
	}
	k := keys.find(id, alg)
	if k == nil {
		return nil, nil, refuse(CodeUnknownKey, "the provider has no key of this id for this algorithm")
	}
	return keys, k, nil
}
