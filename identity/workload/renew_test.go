package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// renewing runs a Renewer in a bubble of fake time.
func renewing(t *testing.T, test func(t *testing.T, c *ca, r *Renewer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t, "shop.example")
		r := NewRenewer(c)
		run(t, r.Run)
		test(t, c, r)
	})
}

func service(t testing.TB, c *ca, name string) ID {
	t.Helper()
	id, err := ServiceID(c.domain, name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func get(t *testing.T, r *Renewer, id ID) (*SVID, <-chan struct{}) {
	t.Helper()
	svid, changed, err := r.X509SVID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return svid, changed
}

// An SVID of an hour is renewed after 27 to 33 minutes, with a new key.
func TestRenewedAtHalfLife(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		for range 20 {
			old, changed := get(t, r, id)
			begun := time.Now()
			<-changed
			if after := time.Since(begun); after < 26*time.Minute || after > 34*time.Minute {
				t.Errorf("renewed after %v", after)
			}
			if renewed, _ := get(t, r, id); renewed.Key == old.Key || renewed == old {
				t.Error("the key was kept")
			}
		}
	})
}

// Services that start together do not renew together.
func TestRenewalsAreSpread(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		const n = 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		first, last := time.Time{}, time.Time{}
		for i := range n {
			id := service(t, c, fmt.Sprint("s", i))
			_, changed := get(t, r, id)
			wg.Go(func() {
				<-changed
				mu.Lock()
				defer mu.Unlock()
				if first.IsZero() {
					first = time.Now()
				}
				last = time.Now()
			})
		}
		wg.Wait()
		if spread := last.Sub(first); spread < 2*time.Minute {
			t.Errorf("all renewed within %v", spread)
		}
	})
}

// However many ask at once, one SVID is made.
func TestManyAskForOne(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _, _, _ = r.X509SVID(t.Context(), id) })
		}
		wg.Wait()
		if n := c.times(id); n != 1 {
			t.Errorf("made %d", n)
		}
	})
}

// With the authority away the old SVID serves until it expires, tries go on with growing pauses, and the first
// that succeeds heals everything, also after everything has expired.
func TestRenewalFails(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		old, changed := get(t, r, id)
		away := errors.New("no way to the authority")
		c.set(func() { c.fail = away })
		time.Sleep(55 * time.Minute)
		if svid, _ := get(t, r, id); svid != old {
			t.Error("the old SVID is not served any more")
		}
		held := r.Held()
		if len(held) != 1 || held[0].Failures < 5 || !errors.Is(held[0].Err, away) || held[0].Expires.IsZero() {
			t.Errorf("held %+v", held)
		}
		if n := c.times(id); n > 45 {
			t.Errorf("asked %d times in half an hour", n)
		}
		time.Sleep(10 * time.Minute)
		if _, _, err := r.X509SVID(t.Context(), id); !errors.Is(err, away) || errors.Is(err, ErrDenied) {
			t.Errorf("expired: %v", err)
		}
		c.set(func() { c.fail = nil })
		<-changed
		if svid, _ := get(t, r, id); svid == old {
			t.Error("not renewed")
		}
		if held := r.Held(); held[0].Failures != 0 || held[0].Err != nil {
			t.Errorf("held %+v", held)
		}
	})
}

// Without a first SVID the callers learn so at once, and get one as soon as there is one.
func TestFirstSVIDFails(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		c.set(func() { c.fail = errors.New("no way to the authority") })
		_, changed, err := r.X509SVID(t.Context(), id)
		if err == nil || errors.Is(err, ErrDenied) {
			t.Fatalf("error %v", err)
		}
		c.set(func() { c.fail = nil })
		<-changed
		get(t, r, id)
	})
}

// A denial takes the SVID away at once and is asked for once per question.
func TestDenied(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id, other := service(t, c, "catalog"), service(t, c, "orders")
		_, changed := get(t, r, id)
		_, unchanged := get(t, r, other)
		c.set(func() { c.deny[id] = true })
		r.Renew(id)
		<-changed
		if _, _, err := r.X509SVID(t.Context(), id); !errors.Is(err, ErrDenied) {
			t.Errorf("error %v", err)
		}
		if n := c.times(id); n != 3 {
			t.Errorf("asked %d times, want 3: the first, the renewal, the question after it", n)
		}
		select {
		case <-unchanged:
			t.Error("another service lost its SVID")
		default:
		}
		c.set(func() { c.deny[id] = false })
		get(t, r, id)
	})
}

// What nobody asks for any more is not renewed.
func TestForgotten(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		get(t, r, id)
		time.Sleep(2 * time.Hour)
		if n, held := c.times(id), r.Held(); n > 2 || len(held) != 0 {
			t.Errorf("made %d, held %v", n, held)
		}
		get(t, r, id)
	})
}

// A signer that answers with something else is not believed.
func TestSignerAnswersWithAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t, "shop.example")
		r := NewRenewer(otherKey{c, t})
		run(t, r.Run)
		if svid, _, err := r.X509SVID(t.Context(), service(t, c, "catalog")); err == nil {
			t.Errorf("SVID %v", svid)
		}
	})
}

type otherKey struct {
	*ca
	t *testing.T
}

func (o otherKey) SignX509(ctx context.Context, id ID, _ crypto.PublicKey) ([]*x509.Certificate, error) {
	return o.ca.SignX509(ctx, id, p256(o.t).Public())
}

func TestRenewerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t, "shop.example")
		r := NewRenewer(c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		get(t, r, service(t, c, "catalog"))
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, _, err := r.X509SVID(t.Context(), service(t, c, "orders")); !errors.Is(err, errStopped) {
			t.Errorf("error %v", err)
		}
	})
}

// An SVID from before serves at once, with the authority away, until it can be renewed.
func TestSeed(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		id := service(t, c, "catalog")
		old, _ := get(t, r, id)
		c.set(func() { c.fail = errors.New("away") })
		next := NewRenewer(c)
		next.Seed(old)
		run(t, next.Run)
		time.Sleep(20 * time.Minute)
		svid, changed := get(t, next, id)
		if svid != old {
			t.Error("it does not serve what it was given")
		}
		c.set(func() { c.fail = nil })
		<-changed
		if svid, _ := get(t, next, id); svid == old {
			t.Error("not renewed")
		}
		next.Seed(old)
		if svid, _ := get(t, next, id); svid == old {
			t.Error("an old SVID took the place of a newer one")
		}
	})
}

// busy is the error of a signer that says when to come back.
type busy struct{ after time.Duration }

func (busy) Error() string               { return "busy" }
func (b busy) RetryAfter() time.Duration { return b.after }

// Those whom the signer tells when to come back come then, and not all in the same moment.
func TestBusySigner(t *testing.T) {
	renewing(t, func(t *testing.T, c *ca, r *Renewer) {
		const n, after = 50, 20 * time.Second
		c.set(func() { c.fail = fmt.Errorf("asking: %w", busy{after}) })
		begun := time.Now()
		var waiting []<-chan struct{}
		for i := range n {
			_, changed, err := r.X509SVID(t.Context(), service(t, c, fmt.Sprint("s", i)))
			if err == nil {
				t.Fatal("an SVID from a busy signer")
			}
			waiting = append(waiting, changed)
		}
		c.set(func() { c.fail = nil })
		var wg sync.WaitGroup
		came := make([]time.Duration, n)
		for i, changed := range waiting {
			wg.Go(func() {
				<-changed
				came[i] = time.Since(begun)
			})
		}
		wg.Wait()
		first, last := slices.Min(came), slices.Max(came)
		if first < after || last > 2*after || last-first < after/2 {
			t.Errorf("they came from %s to %s", first, last)
		}
	})
}
