package jwt

import (
	"crypto"
	"errors"
	"fmt"
)

// keySet is an immutable set of keys. A changed set is a new keySet, so its address is its generation.
type keySet struct {
	byID map[string][]*key
	all  []*key
}

const maxKeys = 128

// parseKeySet reads a JWK Set (RFC 7517, section 5). Keys that are not for signatures are skipped, weak or
// broken ones too, so that one bad key does not take the others away; a set without a usable key is an error
// that says why each was refused.
func parseKeySet(data []byte) (*keySet, error) {
	document, err := parseObject(data, documentBounds())
	if err != nil {
		return nil, fmt.Errorf("reading a key set: %w", err)
	}
	list, ok := document["keys"].([]any)
	if !ok || len(list) > maxKeys {
		return nil, fmt.Errorf(`reading a key set: no list "keys" of at most %d keys`, maxKeys)
	}
	set := &keySet{byID: map[string][]*key{}}
	var refused []error
	for i, item := range list {
		jwk, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("reading a key set: key %d is not an object", i)
		}
		k, err := parseKey(jwk)
		if err != nil {
			refused = append(refused, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		if !set.add(k) {
			return nil, fmt.Errorf("reading a key set: key %d has the id of another key", i)
		}
	}
	if len(set.all) == 0 {
		return nil, fmt.Errorf("reading a key set: no usable key: %w", errors.Join(refused...))
	}
	return set, nil
}

// add puts a key in. It reports false if one algorithm would then have two keys of one id; keys of different
// kinds may share an id (RFC 7517, section 4.5).
func (s *keySet) add(k *key) bool {
	for _, other := range s.byID[k.id] {
		if k.id == "" {
			break
		}
		if equalKeys(k, other) {
			return true
		}
		for _, alg := range algorithms() {
			if k.serves(alg) && other.serves(alg) {
				return false
			}
		}
	}
	s.byID[k.id] = append(s.byID[k.id], k)
	s.all = append(s.all, k)
	return true
}

// serves reports whether the key may verify signatures of alg.
func (k *key) serves(alg *algorithm) bool {
	return (k.alg == "" || k.alg == alg.name) && alg.fits(k.public)
}

// find returns the one key for a key id and algorithm, or nil. Without an id there must be only one key that
// serves the algorithm: keys are never tried in turn. A nil set has none.
func (s *keySet) find(id string, alg *algorithm) *key {
	if s == nil {
		return nil
	}
	candidates := s.all
	if id != "" {
		candidates = s.byID[id]
	}
	var found *key
	for _, k := range candidates {
		if !k.serves(alg) {
			continue
		}
		if found != nil {
			return nil
		}
		found = k
	}
	return found
}

// equal reports whether two sets hold the same keys in the same order.
func (s *keySet) equal(o *keySet) bool {
	if s == nil || o == nil || len(s.all) != len(o.all) {
		return s == o
	}
	for i := range s.all {
		if s.all[i].id != o.all[i].id || !equalKeys(s.all[i], o.all[i]) {
			return false
		}
	}
	return true
}

// equalKeys compares material and algorithm.
func equalKeys(a, b *key) bool {
	public, ok := a.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && a.alg == b.alg && public.Equal(b.public)
}
