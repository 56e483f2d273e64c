package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"
)

// forgetAfter is how long a generation must have been seen expired, by a clock that does not jump, before its
// keys are removed: a wall clock that leaps ahead for a moment must not cost them.
const forgetAfter = time.Hour

// tick brings the authority up to date with both clocks.
func (a *Authority) tick(ctx context.Context, now instant) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	var problems []error
	if err := a.reload(ctx); err != nil {
		problems = append(problems, err) // what is in memory goes on
	}
	var gone []generation
	var rootErr, generationErr error // they hinder the rest no more than they must
	err := a.mutateLocked(ctx, func(s *state) (bool, error) {
		changed := a.parentChanged(s, now.wall)
		changed = listRoots(s, now.wall) || changed
		var renewed, made bool
		renewed, rootErr = a.renewRoot(ctx, s, now.wall)
		gone = a.forget(s, now)
		made, generationErr = a.renewGeneration(ctx, s, now.wall)
		changed = changed || renewed || made || len(gone) > 0
		if changed {
			s.Sequence++
		}
		return prune(s, now.wall, a.config.Grace) || changed, nil
	})
	if err == nil {
		err = a.removeKeys(ctx, gone)
	}
	return errors.Join(append(problems, rootErr, generationErr, err)...)
}

// parentChanged publishes the root of another upstream authority than the state knows.
func (a *Authority) parentChanged(s *state, now time.Time) bool {
	p := a.config.Parent
	if p == nil || slices.ContainsFunc(s.Roots, func(r root) bool { return r.Key == "" && sameChain(r.Chain, p) }) {
		return false
	}
	s.addUpstream(p, now)
	return true
}

// listRoots takes expired roots off the bundle and puts those on that are valid, if the clock went back.
func listRoots(s *state, now time.Time) bool {
	changed := false
	for i := range s.Roots {
		cert := s.Roots[i].certificate()
		if listed := cert != nil && now.Before(cert.NotAfter); listed != s.Roots[i].Listed {
			s.Roots[i].Listed, changed = listed, true
		}
	}
	return changed
}

// certificate returns what everyone trusts, or nil if it cannot be read (compile reports that).
func (r *root) certificate() *x509.Certificate {
	cert, err := x509.ParseCertificate(r.Chain[len(r.Chain)-1])
	if err != nil {
		return nil
	}
	return cert
}

// renewRoot makes a new own root when the newest has less left than two intermediates live. It is published long
// before it signs. An offline root is renewed by its holder.
func (a *Authority) renewRoot(ctx context.Context, s *state, now time.Time) (bool, error) {
	last := s.Roots[len(s.Roots)-1]
	if a.config.Parent != nil || last.Key == "" {
		return false, nil
	}
	// A clock that is before the root's begin says nothing about its end: no new root then.
	if cert := last.certificate(); cert == nil || now.Before(cert.NotAfter.Add(-2*a.config.Intermediate)) {
		return false, nil
	}
	if _, err := a.config.Keys.Lookup(ctx, last.Key); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("the root ends soon and its key is not here to make the next one: %w", ErrParentAway)
		}
		return false, err
	}
	return true, a.addRoot(ctx, s, now)
}

// addRoot makes an own root with a key of its own.
func (a *Authority) addRoot(ctx context.Context, s *state, now time.Time) error {
	name := "root-" + strconv.Itoa(s.Next)
	key, err := a.config.Keys.Signer(ctx, name)
	if err != nil {
		return err
	}
	der, err := makeRoot(a.config.TrustDomain, key, a.config.Root, now)
	if err != nil {
		return err
	}
	s.Roots = append(s.Roots, root{Chain: [][]byte{der}, Key: name, Published: now, Listed: true})
	s.Next++
	return nil
}

// addUpstream publishes the root of an upstream authority.
func (s *state) addUpstream(p *Parent, now time.Time) {
	r := root{Published: now, Listed: true}
	for _, cert := range p.chain {
		r.Chain = append(r.Chain, cert.Raw)
	}
	s.Roots = append(s.Roots, r)
}

// sameChain compares a stored chain with a parent's.
func sameChain(chain [][]byte, p *Parent) bool {
	return slices.EqualFunc(chain, p.chain, func(der []byte, cert *x509.Certificate) bool { return string(der) == string(cert.Raw) })
}

// parent returns what can sign an intermediate now: of those whose key is at hand the newest that has been
// published for long enough, else the newest.
func (a *Authority) parent(ctx context.Context, s *state, now time.Time) (*Parent, error) {
	var found *Parent
	for i := range slices.Backward(s.Roots) {
		r := &s.Roots[i]
		cert := r.certificate()
		if !r.Listed || cert == nil || now.Before(cert.NotBefore) {
			continue
		}
		p, err := a.parentOf(ctx, r, cert)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if now.Sub(r.Published) >= overlap(a.config.Intermediate) {
			return p, nil
		}
		if found == nil {
			found = p
		}
	}
	if found == nil {
		return nil, ErrParentAway
	}
	return found, nil
}

// parentOf returns a root with its key, or nil if that is not at hand.
func (a *Authority) parentOf(ctx context.Context, r *root, cert *x509.Certificate) (*Parent, error) {
	if r.Key == "" {
		if p := a.config.Parent; p != nil && p.key != nil && sameChain(r.Chain, p) {
			return p, nil
		}
		return nil, nil
	}
	key, err := a.config.Keys.Lookup(ctx, r.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &Parent{chain: []*x509.Certificate{cert}, key: key}
	return p, p.check()
}

// renewGeneration makes the next intermediate when its time has come.
func (a *Authority) renewGeneration(ctx context.Context, s *state, now time.Time) (bool, error) {
	usable := a.view.Load().usable
	p, err := a.parent(ctx, s, now)
	ends := now.Add(a.config.Intermediate) // no parent at hand: ask for what could be
	if err == nil {
		ends = p.ends()
	}
	what := nextStep(s.Generations, now, ends, usable)
	if what == nothing {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the next intermediate is due: %w", err)
	}
	number := s.Next
	key, err := a.config.Keys.Signer(ctx, keyName("x509", number))
	if err != nil {
		return false, err
	}
	chain, err := p.sign(key.Public(), a.config.TrustDomain, a.config.Intermediate, now)
	if err != nil {
		return false, err
	}
	if err := a.addGeneration(ctx, s, number, chain, now); err != nil {
		return false, err
	}
	s.Next++
	a.config.Log.InfoContext(ctx, "a new intermediate is published", "generation", number, "signs_from", s.Generations[len(s.Generations)-1].From)
	return true, nil
}

func keyName(kind string, number int) string { return kind + "-" + strconv.Itoa(number) }

// addGeneration adds the generation of an intermediate whose key exists, with a new key for JWT-SVIDs. It signs
// at once if nothing else can, otherwise after the overlap.
func (a *Authority) addGeneration(ctx context.Context, s *state, number int, chain [][]byte, now time.Time) error {
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("reading an intermediate: %w", err)
	}
	name := keyName("jwt", number)
	key, err := a.config.Keys.Signer(ctx, name)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the key of JWT-SVIDs: %w", err)
	}
	g := generation{
		Number: number, Chain: chain, Key: keyName("x509", number), Begins: cert.NotBefore, Ends: cert.NotAfter,
		JWTKey: name, JWTPublic: public, KeyID: keyID(sha256.Sum256(public)), Published: now, From: now,
	}
	if signing(s.Generations, now, a.view.Load().usable) != nil {
		g.From = now.Add(overlap(cert.NotAfter.Sub(cert.NotBefore)))
	}
	s.Generations = append(s.Generations, g)
	return nil
}

// forget takes generations out whose end has been past for long enough, and returns them.
func (a *Authority) forget(s *state, now instant) []generation {
	var gone []generation
	s.Generations = slices.DeleteFunc(s.Generations, func(g generation) bool {
		if now.wall.Before(g.Ends) {
			delete(a.expired, g.Number)
			return false
		}
		first, seen := a.expired[g.Number]
		if !seen {
			a.expired[g.Number] = now.up
			return false
		}
		if now.up-first < forgetAfter {
			return false
		}
		gone = append(gone, g)
		return true
	})
	return gone
}

// removeKeys deletes the keys of generations that are forgotten.
func (a *Authority) removeKeys(ctx context.Context, gone []generation) error {
	var errs []error
	for _, g := range gone {
		delete(a.expired, g.Number)
		errs = append(errs, a.config.Keys.Remove(ctx, g.Key), a.config.Keys.Remove(ctx, g.JWTKey))
	}
	return errors.Join(errs...)
}
