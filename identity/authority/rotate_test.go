package authority

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

const day = 24 * time.Hour

// pass lets time pass and the authority look every six hours. (Run looks every 30 s: see TestRun.)
func pass(t *testing.T, a *Authority, d time.Duration) {
	t.Helper()
	for range d / (6 * time.Hour) {
		time.Sleep(6 * time.Hour)
		if err := a.tick(t.Context(), a.now()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRotation runs an authority for half a year. Everything it signs must be taken by who read the bundle four
// days ago: no key signs before it was published for long.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		a := p.open(t)
		generations := map[string]bool{}
		var old []*spiffebundle.Bundle
		for d := range 180 {
			_, leaf := issue(t, a, "catalog")
			generations[string(leaf.AuthorityKeyId)] = true
			if len(old) > 0 {
				reader := old[max(0, d-4)]
				token, err := a.SignJWT(t.Context(), JWTRequest{ID: serviceID("catalog"), Audiences: []string{"a"}})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := jwtsvid.ParseAndValidate(token.Token, reader, []string{"a"}); err != nil {
					t.Fatalf("day %d: who read the bundle on day %d refuses: %v", d, max(0, d-4), err)
				}
				before, _ := old[len(old)-1].SequenceNumber()
				now, _ := a.Bundle().SequenceNumber()
				old[len(old)-1].SetSequenceNumber(now)
				if same := old[len(old)-1].Equal(a.Bundle()); same != (before == now) {
					t.Fatalf("day %d: sequence %d after %d, same contents: %v", d, now, before, same)
				}
			}
			old = append(old, a.Bundle())
			pass(t, a, day)
		}
		if len(generations) != 12 { // a new one is made every 15 days
			t.Errorf("%d intermediates in 180 days", len(generations))
		}
		if n := len(a.view.Load().state.Generations); n > 3 {
			t.Errorf("%d generations are kept", n)
		}
		if _, err := p.ring.Lookup(t.Context(), keyName("x509", 2)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the key of the first intermediate is kept: %v", err)
		}
		if status := a.Status(); status.Signing == 0 || status.Ends.Before(time.Now()) || status.RootEnds.Before(time.Now().Add(9*365*day)) {
			t.Errorf("%+v", status)
		}
	})
}

// TestRootRotation runs an authority with a short-lived root until its third root, and holds that SVIDs of each
// day verify with the bundle of four days ago.
func TestRootRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlace(t).open(t, func(c *Config) { c.Root = 120 * day })
		var old []*spiffebundle.Bundle
		roots := map[string]bool{}
		for d := range 250 {
			old = append(old, a.Bundle())
			svid, _ := issue(t, a, "catalog")
			if id, err := verify(svid, old[max(0, d-4)]); err != nil || id != svid.ID {
				t.Fatalf("day %d: %v", d, err)
			}
			for _, root := range a.Bundle().X509Authorities() {
				roots[string(root.Raw)] = true
			}
			pass(t, a, day)
		}
		if len(roots) != 5 || len(a.Bundle().X509Authorities()) > 3 {
			t.Errorf("%d roots, %d now", len(roots), len(a.Bundle().X509Authorities()))
		}
	})
}

// TestAsleep holds that an authority which was not running while everything expired recovers by itself when it
// starts, and when its machine wakes up.
func TestAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		a := p.open(t)
		time.Sleep(200 * day)
		if _, err := a.SignX509(t.Context(), X509Request{ID: serviceID("a"), Public: newPublic(t)}); !errors.Is(err, ErrNoIssuer) {
			t.Errorf("an expired intermediate signs: %v", err)
		}
		issue(t, p.open(t), "catalog")
		time.Sleep(11 * 365 * day)
		issue(t, p.open(t), "catalog")
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := a.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		issue(t, a, "catalog")
		cancel()
		running.Wait()
	})
}

// TestRun lets Run rotate the shortest intermediates for two days.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		a := p.open(t, func(c *Config) { c.Intermediate = minIntermediate })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := a.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for range 48 {
			time.Sleep(time.Hour)
			if svid, _ := issue(t, a, "catalog"); time.Until(svid.NotAfter) < 59*time.Minute {
				t.Errorf("an SVID ends in %s", time.Until(svid.NotAfter))
			}
		}
		p.store.full.Store(true)
		time.Sleep(7 * time.Hour)
		p.store.full.Store(false)
		time.Sleep(time.Minute)
		issue(t, a, "catalog")
		cancel()
		running.Wait()
		for _, want := range []string{"cannot renew itself", "up to date again"} {
			if strings.Count(p.log.String(), want) != 1 {
				t.Errorf("logged %d times: %s", strings.Count(p.log.String(), want), want)
			}
		}
	})
}

// TestClockJumps moves the wall clock while the monotonic one goes on.
func TestClockJumps(t *testing.T) {
	p := newPlace(t)
	a := p.open(t)
	start := wall()
	at := func(up, offset time.Duration) instant { return instant{wall: start.Add(up + offset), up: up} }
	first := a.view.Load().signing(start).cert
	root := a.Bundle().X509Authorities()[0]
	tick := func(up, offset time.Duration) *x509.Certificate {
		t.Helper()
		now := at(up, offset)
		if err := a.tick(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		by := a.view.Load().signing(now.wall)
		if by == nil {
			t.Fatal("nothing signs")
		}
		return by.cert
	}
	if got := tick(time.Minute, 40*day); got.Equal(first) {
		t.Error("40 days ahead: the expired intermediate signs")
	}
	if got := tick(2*time.Minute, 0); !got.Equal(first) {
		t.Error("back again: the first intermediate does not sign")
	}
	if n := len(a.view.Load().state.Generations); n != 2 {
		t.Errorf("%d generations", n)
	}
	if got := tick(3*time.Minute, 30*365*day); got.Equal(first) || a.Bundle().X509Authorities()[0].Equal(root) {
		t.Error("30 years ahead: the expired root is in the bundle")
	}
	if got := tick(4*time.Minute, 0); !got.Equal(first) || !a.Bundle().X509Authorities()[0].Equal(root) {
		t.Error("back again: the first root does not stand first in the bundle")
	}
	// A clock that starts in 1970 makes no roots of 1970: there is no answer to "what is valid now".
	roots := len(a.view.Load().state.Roots)
	before := at(5*time.Minute, -56*365*day)
	if err := a.tick(t.Context(), before); !errors.Is(err, ErrParentAway) || len(a.view.Load().state.Roots) != roots {
		t.Errorf("before the beginning: %v, %d roots", err, len(a.view.Load().state.Roots))
	}
	if got := tick(6*time.Minute, 0); !got.Equal(first) {
		t.Error("the right time again: the first intermediate does not sign")
	}
	// A jump that lasts costs what has expired.
	tick(7*time.Minute, 40*day)
	tick(8*time.Minute+forgetAfter, 40*day)
	if _, err := p.ring.Lookup(t.Context(), keyName("x509", 2)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the expired key is kept: %v", err)
	}
}

// TestOfflineRoot takes the root's key away, lets the next intermediate become due, and brings it by hand.
func TestOfflineRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		a := p.open(t)
		key, err := p.ring.Lookup(t.Context(), "root-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ring.Remove(t.Context(), "root-1"); err != nil {
			t.Fatal(err)
		}
		rootPEM := pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: a.Bundle().X509Authorities()[0].Raw})
		a = p.open(t)
		_, first := issue(t, a, "catalog")
		time.Sleep(16 * day)
		if err := a.tick(t.Context(), a.now()); !errors.Is(err, ErrParentAway) {
			t.Fatalf("due without a root: %v", err)
		}
		issue(t, a, "catalog")
		request, err := a.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		parent, err := ReadParent(rootPEM, key)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := parent.Sign(request, a.config.TrustDomain, 60*day, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Install(t.Context(), rootPEM); err == nil {
			t.Error("the root itself is installed")
		}
		foreign, err := newPlace(t).open(t).Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if other, err := parent.Sign(foreign, a.config.TrustDomain, 60*day, time.Now()); err != nil || a.Install(t.Context(), other) == nil {
			t.Errorf("an intermediate of another key is installed: %v", err)
		}
		if err := a.Install(t.Context(), chain); err != nil {
			t.Fatal(err)
		}
		if err := a.Install(t.Context(), chain); err == nil {
			t.Error("installed twice")
		}
		if err := a.tick(t.Context(), a.now()); err != nil {
			t.Errorf("nothing is due: %v", err)
		}
		if _, leaf := issue(t, a, "catalog"); string(leaf.AuthorityKeyId) != string(first.AuthorityKeyId) {
			t.Error("the new intermediate signs before it was published")
		}
		time.Sleep(12 * day)
		if _, leaf := issue(t, p.open(t), "catalog"); string(leaf.AuthorityKeyId) == string(first.AuthorityKeyId) {
			t.Error("the new intermediate does not sign")
		}
	})
}

// TestUpstream runs under an upstream authority, then under its successor, then under one whose key is elsewhere.
func TestUpstream(t *testing.T) {
	p := newPlace(t)
	same := func(*x509.Certificate) {}
	under := func(chain []byte, parent *Parent) func(*Config) { return func(c *Config) { c.Parent = parent } }
	chain, key := outside(t, 365*day, same)
	parent, err := ReadParent(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	a := p.open(t, under(chain, parent))
	svid, _ := issue(t, a, "catalog")
	if len(svid.Chain) != 3 || len(a.Bundle().X509Authorities()) != 1 {
		t.Errorf("chain of %d, %d roots", len(svid.Chain), len(a.Bundle().X509Authorities()))
	}
	chain, key = outside(t, 365*day, same)
	next, err := ReadParent(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	a = p.open(t, under(chain, next))
	if _, err := verify(svid, a.Bundle()); err != nil || len(a.Bundle().X509Authorities()) != 2 {
		t.Errorf("an SVID of before: %v, %d roots", err, len(a.Bundle().X509Authorities()))
	}
	issue(t, a, "catalog")

	// A new place whose upstream lends no key: everything waits for Install.
	p = newPlace(t)
	silent, err := ReadParent(chain, nil)
	if err != nil {
		t.Fatal(err)
	}
	a = p.open(t, under(chain, silent))
	if _, err := a.SignX509(t.Context(), X509Request{ID: serviceID("a"), Public: newPublic(t)}); !errors.Is(err, ErrNoIssuer) {
		t.Errorf("signed by nobody: %v", err)
	}
	request, err := a.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := next.Sign(request, a.config.TrustDomain, 30*day, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Install(t.Context(), signed); err != nil {
		t.Fatal(err)
	}
	issue(t, a, "catalog")
}

// TestBadUpstream holds which chains are refused.
func TestBadUpstream(t *testing.T) {
	same := func(*x509.Certificate) {}
	good, key := outside(t, day, same)
	first, rest := pem.Decode(good)
	_, otherKey := outside(t, day, same)
	short, shortKey := outside(t, day, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	leaf, leafKey := outside(t, day, func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 })
	if _, err := ReadParent(good, key); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"no root":       func() error { _, err := ReadParent(pem.EncodeToMemory(first), key); return err },
		"root only":     func() error { _, err := ReadParent(rest, key); return err },
		"wrong order":   func() error { _, err := ReadParent(append(rest, pem.EncodeToMemory(first)...), nil); return err },
		"another key":   func() error { _, err := ReadParent(good, otherKey); return err },
		"no room below": func() error { _, err := ReadParent(short, shortKey); return err },
		"no authority":  func() error { _, err := ReadParent(leaf, leafKey); return err },
		"nothing":       func() error { _, err := ReadParent(nil, key); return err },
		"a private key too": func() error {
			_, err := ReadParent(append(good, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"...), key)
			return err
		},
	} {
		if read() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestLostKeys holds that an authority whose intermediate's key is lost makes a new intermediate.
func TestLostKeys(t *testing.T) {
	p := newPlace(t)
	_, first := issue(t, p.open(t), "catalog")
	if err := p.ring.Remove(t.Context(), keyName("x509", 2)); err != nil {
		t.Fatal(err)
	}
	if _, leaf := issue(t, p.open(t), "catalog"); string(leaf.AuthorityKeyId) == string(first.AuthorityKeyId) {
		t.Error("a lost key signs")
	}
}

// FuzzPEM holds that hostile chains and requests are refused without a panic.
func FuzzPEM(f *testing.F) {
	p := newPlace(f)
	a := p.open(f)
	request, err := a.Request(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: a.Bundle().X509Authorities()[0].Raw})
	key, err := p.ring.Lookup(f.Context(), "root-1")
	if err != nil {
		f.Fatal(err)
	}
	parent, err := ReadParent(root, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add(root)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := a.Install(t.Context(), data); err == nil {
			t.Error("installed")
		}
		_, _ = ReadParent(data, nil)
		_, _ = parent.Sign(data, a.config.TrustDomain, day, time.Now())
	})
}
