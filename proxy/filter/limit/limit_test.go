package limit

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// hand is a clock that a test moves.
type hand struct{ at atomic.Int64 }

func newHand() *hand {
	h := new(hand)
	h.at.Store(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano())
	return h
}

func (h *hand) now() time.Time          { return time.Unix(0, h.at.Load()) }
func (h *hand) advance(d time.Duration) { h.at.Add(int64(d)) }
func per(kind, rate string) model.Limit { return model.Limit{Per: kind, Rate: parseRate(rate)} }
func client(addr string) *proxy.Request { return &proxy.Request{Client: netip.MustParseAddr(addr)} }
func user(provider, sub string) *proxy.Request {
	r := client("192.0.2.9")
	r.User = &proxy.User{Provider: provider, Subject: sub}
	return r
}

func parseRate(s string) model.Rate {
	var r model.Rate
	if err := r.UnmarshalText([]byte(s)); err != nil {
		panic(err) // a mistake in the test itself
	}
	return r
}

// passes sends n requests and counts those that pass.
func passes(t *testing.T, f proxy.Filter, r *proxy.Request, n int) int {
	t.Helper()
	passed := 0
	for range n {
		err := f.Filter(t.Context(), r)
		var denial *proxy.Denial
		switch {
		case err == nil:
			passed++
		case !errors.As(err, &denial) || denial.Kind != proxy.KindLimited:
			t.Fatalf("got %v, want a limited denial", err)
		}
		r.Answer = r.Answer[:0]
	}
	return passed
}

func TestBurstThenSteadyRate(t *testing.T) {
	clock := newHand()
	f, none := Compile([]model.Limit{per("address", "60/1m")}, "r", "s", NewStore(0), clock.now)
	if none != nil {
		t.Error("a principal filter without limits of its kind")
	}
	r := client("192.0.2.1")
	if got := passes(t, f, r, 100); got != 60 {
		t.Errorf("burst: %d passed, want 60", got)
	}
	clock.advance(999 * time.Millisecond)
	if got := passes(t, f, r, 5); got != 0 {
		t.Errorf("before the next second: %d passed, want 0", got)
	}
	clock.advance(time.Millisecond)
	if got := passes(t, f, r, 5); got != 1 {
		t.Errorf("after a second: %d passed, want 1", got)
	}
	clock.advance(time.Hour)
	if got := passes(t, f, r, 100); got != 60 {
		t.Errorf("after an hour: %d passed, want 60", got)
	}
}

func TestBurstAndCost(t *testing.T) {
	for name, tc := range map[string]struct {
		limit model.Limit
		want  int
	}{
		"burst below the rate":  {model.Limit{Per: "address", Rate: parseRate("100/1m"), Burst: 5}, 5},
		"burst above the rate":  {model.Limit{Per: "address", Rate: parseRate("1/1m"), Burst: 7}, 7},
		"cost divides":          {model.Limit{Per: "address", Rate: parseRate("100/1m"), Cost: 10}, 10},
		"cost does not divide":  {model.Limit{Per: "address", Rate: parseRate("100/1m"), Cost: 30}, 3},
		"cost above the burst":  {model.Limit{Per: "address", Rate: parseRate("2/1m"), Cost: 9}, 1},
		"a rate of nothing":     {model.Limit{Per: "address"}, 0},
		"more than a per nano":  {model.Limit{Per: "address", Rate: model.Rate{Count: 1 << 40, Window: time.Second}, Burst: 3}, 3},
		"years of window":       {model.Limit{Per: "address", Rate: model.Rate{Count: 1, Window: 1 << 62}, Burst: 1 << 40}, 1},
		"unknown kind, service": {model.Limit{Per: "moon", Rate: parseRate("4/1m")}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			address, principal := Compile([]model.Limit{tc.limit}, "r", "s", NewStore(0), newHand().now)
			f := address
			if f == nil {
				f = principal
			}
			if got := passes(t, f, client("192.0.2.1"), 200); got != tc.want {
				t.Errorf("%d passed, want %d", got, tc.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		limit model.Limit
		first *proxy.Request
		other *proxy.Request
		apart bool
	}{
		"two addresses":            {per("address", "1/1m"), client("192.0.2.1"), client("192.0.2.2"), true},
		"one /64":                  {per("address", "1/1m"), client("2001:db8::1"), client("2001:db8::ffff:1"), false},
		"two /64":                  {per("address", "1/1m"), client("2001:db8::1"), client("2001:db8:0:1::1"), true},
		"one /56":                  {model.Limit{Per: "address", Rate: parseRate("1/1m"), IPv6: 56}, client("2001:db8::1"), client("2001:db8:0:1::1"), false},
		"mapped is IPv4":           {per("address", "1/1m"), client("192.0.2.1"), client("::ffff:192.0.2.1"), false},
		"mapped are not one /64":   {per("address", "1/1m"), client("::ffff:192.0.2.2"), client("::ffff:192.0.2.1"), true},
		"zones do not count":       {per("address", "1/1m"), client("fe80::1%a"), client("fe80::1%b"), false},
		"no address is one client": {per("address", "1/1m"), &proxy.Request{}, &proxy.Request{}, false},
		"two users":                {per("user", "1/1m"), user("idp", "a"), user("idp", "b"), true},
		"same name, other issuer":  {per("user", "1/1m"), user("idp", "a"), user("other", "a"), true},
		"one user":                 {per("user", "1/1m"), user("idp", "a"), user("idp", "a"), false},
		"nobody is the address":    {per("user", "1/1m"), client("192.0.2.1"), client("192.0.2.2"), true},
		"user is not its address":  {per("user", "1/1m"), client("192.0.2.9"), user("idp", "a"), true},
		"route counts everyone":    {per("route", "1/1m"), user("idp", "a"), client("192.0.2.1"), false},
		"service counts everyone":  {per("service", "1/1m"), user("idp", "a"), client("192.0.2.1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			f, principal := Compile([]model.Limit{tc.limit}, "r", "s", NewStore(0), newHand().now)
			if f == nil {
				f = principal
			}
			if passes(t, f, tc.first, 1) != 1 {
				t.Fatal("the first request did not pass")
			}
			if got := passes(t, f, tc.other, 1) == 1; got != tc.apart {
				t.Errorf("counted apart: %t, want %t", got, tc.apart)
			}
		})
	}
}

func TestSharingAndReload(t *testing.T) {
	store, clock := NewStore(0), newHand()
	limits := []model.Limit{per("address", "3/1m"), per("route", "3/1m"), per("service", "3/1m"), per("user", "3/1m")}
	before, after := Compile(limits, "one", "shop", store, clock.now)
	r := client("192.0.2.1")
	passes(t, before, r, 3)
	passes(t, after, r, 3)
	again, principal := Compile(limits, "one", "shop", store, clock.now)
	if passes(t, again, r, 1)+passes(t, principal, r, 1) != 0 {
		t.Error("a reload refilled a quota")
	}
	_, routed := Compile([]model.Limit{per("route", "3/1m")}, "two", "shop", store, clock.now)
	if passes(t, routed, r, 4) != 3 {
		t.Error("another route shares the quota of the first")
	}
	_, served := Compile([]model.Limit{per("service", "3/1m")}, "two", "shop", store, clock.now)
	if passes(t, served, r, 4) != 0 {
		t.Error("another route of the service does not share its quota")
	}
	_, other := Compile([]model.Limit{per("service", "3/1m")}, "two", "depot", store, clock.now)
	if passes(t, other, r, 4) != 3 {
		t.Error("another service shares the quota")
	}
	changed, _ := Compile([]model.Limit{per("address", "4/1m")}, "one", "shop", store, clock.now)
	if passes(t, changed, r, 9) != 4 {
		t.Error("a changed rate kept the old state")
	}
	runtime.KeepAlive([]proxy.Filter{before, after})
}

func TestUnusedStateIsCollected(t *testing.T) {
	store := NewStore(0)
	for i := range 20 {
		f, _ := Compile([]model.Limit{per("address", strconv.Itoa(i+1)+"/1m")}, "r", "s", store, newHand().now)
		passes(t, f, client("192.0.2.1"), 1)
	}
	for range 3 {
		runtime.GC()
	}
	f, _ := Compile([]model.Limit{per("address", "99/1m")}, "r", "s", store, nil)
	store.mu.Lock()
	defer store.mu.Unlock()
	if n := len(store.tables); n > 2 {
		t.Errorf("%d tables held, want those in use", n)
	}
	runtime.KeepAlive(f)
}

func TestAllOrNone(t *testing.T) {
	clock := newHand()
	wide, narrow := per("user", "10/1m"), per("route", "2/1m")
	store := NewStore(0)
	_, both := Compile([]model.Limit{wide, narrow}, "r", "s", store, clock.now)
	r := user("idp", "a")
	if got := passes(t, both, r, 50); got != 2 {
		t.Fatalf("%d passed, want 2", got)
	}
	_, alone := Compile([]model.Limit{wide}, "r", "s", store, clock.now)
	if got := passes(t, alone, r, 50); got != 8 {
		t.Errorf("%d left of 10 after 2 passes and 48 refusals, want 8", got)
	}
}

func TestManyLimits(t *testing.T) {
	var limits []model.Limit
	for i := range 12 {
		l := per("user", "5/1m")
		l.Name = "n" + strconv.Itoa(i)
		limits = append(limits, l)
	}
	_, f := Compile(limits, "r", "s", NewStore(0), newHand().now)
	if got := passes(t, f, user("idp", "a"), 9); got != 5 {
		t.Errorf("%d passed, want 5", got)
	}
}

func TestFields(t *testing.T) {
	clock := newHand()
	steep := model.Limit{Per: "user", Name: `a "b"`, Rate: parseRate("5/500ms"), Burst: 2}
	f, principal := Compile([]model.Limit{per("address", "100/1m"), per("user", "50/1h"), steep}, "r", "s", NewStore(0), clock.now)
	r := user("idp", "secret-subject")
	if err := f.Filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := principal.Filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []string{`"address";q=100;w=60, "user";q=50;w=3600, "a \"b\"";q=10;w=1`}
	if got := r.Answer.Values("RateLimit-Policy"); !slices.Equal(got, want) {
		t.Errorf("RateLimit-Policy %q, want %q", got, want)
	}
	want = []string{`"address";r=99;t=1, "a \"b\"";r=1;t=1`}
	if got := r.Answer.Values("RateLimit"); !slices.Equal(got, want) {
		t.Errorf("RateLimit %q, want %q", got, want)
	}
	alone := user("idp", "other")
	if err := principal.Filter(t.Context(), alone); err != nil || alone.Answer.Get("RateLimit-Policy") != `"user";q=50;w=3600, "a \"b\"";q=10;w=1` ||
		alone.Answer.Get("RateLimit") != `"a \"b\"";r=1;t=1` {
		t.Errorf("without the stage before: %v, %v", err, alone.Answer)
	}
	clock.advance(time.Hour)
	passes(t, f, r, 100)
	err := f.Filter(t.Context(), r)
	var denial *proxy.Denial
	if !errors.As(err, &denial) {
		t.Fatalf("got %v, want a denial", err)
	}
	for name, value := range map[string]string{"Retry-After": "1", "RateLimit": `"address";r=0;t=1`, "RateLimit-Policy": `"address";q=100;w=60`} {
		if got := denial.Header.Get(name); got != value {
			t.Errorf("%s %q, want %q", name, got, value)
		}
	}
	if len(denial.Reasons) != 1 || denial.Reasons[0].Data["limit"] != "address" || denial.Reasons[0].Data["reset"] != "1" {
		t.Errorf("reasons %+v", denial.Reasons)
	}
}

func TestRetryAfterIsEnough(t *testing.T) {
	clock := newHand()
	f, _ := Compile([]model.Limit{{Per: "address", Rate: parseRate("7/1m"), Cost: 3}}, "r", "s", NewStore(0), clock.now)
	r := client("192.0.2.1")
	for range 50 {
		err := f.Filter(t.Context(), r)
		if err == nil {
			continue
		}
		var denial *proxy.Denial
		if !errors.As(err, &denial) {
			t.Fatal(err)
		}
		wait, err := strconv.Atoi(denial.Header.Get("Retry-After"))
		if err != nil || wait < 1 {
			t.Fatalf("Retry-After %q", denial.Header.Get("Retry-After"))
		}
		clock.advance(time.Duration(wait) * time.Second)
		if err := f.Filter(t.Context(), r); err != nil {
			t.Fatalf("refused after the wait it was told: %v", err)
		}
	}
}

func TestNeverMoreThanAllowed(t *testing.T) {
	clock := newHand()
	limits := []model.Limit{per("user", "500/1h"), per("route", "300/1h"), per("service", "400/1h")}
	store := NewStore(0)
	_, f := Compile(limits, "r", "s", store, clock.now)
	_, g := Compile(limits, "other", "s", store, clock.now)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := user("idp", "a")
			for range 200 {
				filter := f
				if i%2 == 1 {
					filter = g
				}
				if filter.Filter(t.Context(), r) == nil {
					passed.Add(1)
				}
				r.Answer = r.Answer[:0]
			}
		})
	}
	wg.Wait()
	if got := passed.Load(); got != 400 {
		t.Errorf("%d passed at one instant, want exactly 400, the service's quota", got)
	}
}
