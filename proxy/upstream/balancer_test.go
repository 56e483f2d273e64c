package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// played is a member whose answers a test chooses.
type played struct {
	answer func() (*Response, again, error)
	asked  atomic.Int64
	busy   int
	closed bool
}

func (p *played) try(context.Context, *Request, bool) (*Response, again, error) {
	p.asked.Add(1)
	return p.answer()
}

func (p *played) inFlight() int { return p.busy }

func (p *played) Close() { p.closed = true }

func answers(status int) func() (*Response, again, error) {
	return func() (*Response, again, error) { return &Response{Status: status}, never, nil }
}

func fails(err error, more again) func() (*Response, again, error) {
	return func() (*Response, again, error) { return nil, more, fmt.Errorf("playing: %w", err) }
}

var (
	fine   = answers(200)                     //nolint:gochecknoglobals // only read
	dead   = fails(ErrDial, anywhere)         //nolint:gochecknoglobals // only read
	lost   = fails(ErrDisconnected, never)    //nolint:gochecknoglobals // only read
	broken = fails(ErrDisconnected, anywhere) //nolint:gochecknoglobals // only read
)

// play makes a Balancer of n members that are fine.
func play(n int, o Options) (*Balancer, []*played) {
	b := NewBalancer(o, HTTP1)
	members := make([]*played, n)
	for i := range members {
		members[i] = &played{answer: fine}
		b.all = append(b.all, &address{name: fmt.Sprint(i), member: members[i]})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look(time.Now())
	return b, members
}

// ask sends n requests and returns how many failed, and with what last.
func ask(t *testing.T, b *Balancer, n int) (int, error) {
	t.Helper()
	failed, last := 0, error(nil)
	for range n {
		if _, err := b.Do(t.Context(), &Request{Method: "GET", Target: "/", Host: "h"}); err != nil {
			failed, last = failed+1, err
		}
	}
	return failed, last
}

func off(b *Balancer) string {
	s := ""
	for _, a := range b.State().Addresses {
		if a.Off > 0 {
			s += a.Address
		}
	}
	return s
}

func TestChoice(t *testing.T) {
	b, members := play(3, Options{})
	ask(t, b, 3000)
	for i, m := range members {
		if n := m.asked.Load(); n < 800 || n > 1200 {
			t.Errorf("address %d was asked %d times of 3000", i, n)
		}
	}
	b, members = play(2, Options{})
	members[0].busy = 1
	if ask(t, b, 100); members[0].asked.Load() != 0 {
		t.Error("the busier of two addresses was asked")
	}
	b, _ = play(0, Options{})
	if _, err := ask(t, b, 1); !errors.Is(err, ErrDial) {
		t.Errorf("without an address: %v", err)
	}
}

// TestOff sends addresses off for ever longer, and never more than half of them unless all fail.
func TestOff(t *testing.T) {
	for name, test := range map[string]struct {
		of, failing int
		answer      func() (*Response, again, error)
		off         string
	}{
		"one of three":       {3, 1, lost, "0"},
		"one of two":         {2, 1, lost, "0"},
		"two of three":       {3, 2, dead, "0|1"},
		"three of four":      {4, 3, dead, "01|02|12"},
		"all of three":       {3, 3, dead, "012"},
		"a single one":       {1, 1, dead, "0"},
		"gateway's word":     {3, 1, answers(503), "0"},
		"a service's error":  {3, 1, answers(500), ""},
		"no fault of theirs": {3, 1, fails(ErrBusy, never), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, members := play(test.of, Options{})
				for _, m := range members[:test.failing] {
					m.answer = test.answer
				}
				for i := range 200 {
					ask(t, b, 1)
					if i%15 == 14 {
						b.circuit.state.Store(uint32(CircuitClosed)) // the addresses alone are the matter here
					}
				}
				if got := off(b); !oneOf(got, test.off) {
					t.Fatalf("off: %q, expected %q", got, test.off)
				}
				before := members[0].asked.Load()
				if ask(t, b, 20); test.off == "0" && test.of > 1 && members[0].asked.Load() != before {
					t.Error("an address that is off was asked")
				}
			})
		})
	}
}

func oneOf(got, list string) bool {
	for {
		i := 0
		for i < len(list) && list[i] != '|' {
			i++
		}
		if got == list[:i] {
			return true
		}
		if i == len(list) {
			return false
		}
		list = list[i+1:]
	}
}

// TestBack has an address come back after its time off, twice as late each time, and begin anew once it has stayed.
func TestBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, members := play(2, Options{})
		fall := func() time.Duration {
			members[0].answer = lost
			for off(b) == "" {
				ask(t, b, 1)
				b.circuit.state.Store(uint32(CircuitClosed))
			}
			return b.State().Addresses[0].Off
		}
		for i, shortest := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			wait := fall()
			if shortest *= time.Second; wait < shortest || wait > shortest*3/2 {
				t.Errorf("time %d: off for %v", i, wait)
			}
			time.Sleep(wait - 1)
			if before := members[0].asked.Load(); off(b) != "0" || before != func() int64 { ask(t, b, 20); return members[0].asked.Load() }() {
				t.Errorf("time %d: back early", i)
			}
			time.Sleep(time.Nanosecond)
		}
		members[0].answer = fine
		before := members[0].asked.Load()
		if failed, _ := ask(t, b, 50); failed > 0 || members[0].asked.Load() == before || b.State().Addresses[0].Failures > 0 {
			t.Errorf("after it was back: %d failed, %+v", failed, b.State())
		}
		time.Sleep(longestOff + time.Second)
		if wait := fall(); wait > shortestOff*3/2 {
			t.Errorf("after a long good time: off for %v", wait)
		}
	})
}

// TestElsewhere sends again what may be, to another address, and nothing else.
func TestElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		first, second func() (*Response, again, error)
		want          error
		repeats       uint64
	}{
		"out of reach":            {dead, fine, nil, 0},
		"slow to reach":           {fails(ErrTimeout, elsewhere), fine, nil, 1},
		"slow to reach, twice":    {fails(ErrTimeout, elsewhere), fails(ErrTimeout, elsewhere), ErrTimeout, 1},
		"broken and safe":         {broken, fine, nil, 1},
		"broken and unsafe":       {lost, fine, ErrDisconnected, 0},
		"broken twice":            {broken, broken, ErrDisconnected, 1},
		"out of reach everywhere": {dead, dead, ErrDial, 1}, // once more at the last one, as a single one would be
		"an answer is an answer":  {answers(503), fine, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, members := play(2, Options{})
			members[1].busy = 1 // so that the first comes first
			members[0].answer, members[1].answer = test.first, test.second
			r, err := b.Do(t.Context(), &Request{Method: "GET", Target: "/", Host: "h"})
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v", err)
			}
			if s := b.State(); s.Repeats != test.repeats {
				t.Errorf("repeats %d, expected %d", s.Repeats, test.repeats)
			}
			if want := int(members[0].asked.Load() + members[1].asked.Load()); err == nil && r.Attempts != want {
				t.Errorf("attempts %d of %d", r.Attempts, want)
			}
		})
	}
}

// TestAllButOne finds the one address of five that can be reached.
func TestAllButOne(t *testing.T) {
	b, members := play(5, Options{})
	for _, m := range members[1:] {
		m.answer = dead
	}
	if failed, err := ask(t, b, 1000); failed > 0 {
		t.Errorf("%d of 1000 failed: %v", failed, err)
	}
}

// TestBudget holds repeats to a fifth of what is asked.
func TestBudget(t *testing.T) {
	b, members := play(3, Options{Retries: 3})
	for _, m := range members {
		m.answer = broken
	}
	const asked = 10_000
	for range asked {
		ask(t, b, 1)
		b.circuit.state.Store(uint32(CircuitClosed))
	}
	sent := uint64(0)
	for _, m := range members {
		sent += uint64(m.asked.Load())
	}
	s := b.State()
	if sent-asked != s.Repeats || s.Repeats < asked/5 || s.Repeats > asked/5+firstRepeats || s.GivenUp != asked {
		t.Errorf("%d sent for %d asked, %+v", sent, asked, s)
	}
}

// TestCircuit opens when half of the requests fail, asks again with few, and closes when these go well.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, members := play(2, Options{})
		state := func(want Circuit) {
			t.Helper()
			if got := b.State().Circuit; got != want {
				t.Fatalf("circuit is %v, expected %v", got, want)
			}
		}
		all := func(answer func() (*Response, again, error)) { members[0].answer, members[1].answer = answer, answer }
		ask(t, b, 100)
		all(lost)
		ask(t, b, circuitRequests-1)
		state(CircuitClosed) // the window began with the first failure
		_, err := ask(t, b, 1)
		state(CircuitOpen)
		if !errors.Is(err, ErrDisconnected) {
			t.Errorf("the last one: %v", err)
		}
		before := members[0].asked.Load() + members[1].asked.Load()
		if failed, err := ask(t, b, 10); failed != 10 || !errors.Is(err, ErrOpen) || members[0].asked.Load()+members[1].asked.Load() != before || b.State().Refused != 10 {
			t.Errorf("open: %d failed with %v, %+v", failed, err, b.State())
		}
		time.Sleep(shortestOff * 3 / 2)
		ask(t, b, 1)
		state(CircuitOpen) // one probe was enough
		time.Sleep(shortestOff)
		if _, err := ask(t, b, 1); !errors.Is(err, ErrOpen) {
			t.Errorf("the second wait is no longer than the first: %v", err)
		}
		time.Sleep(2 * shortestOff)
		all(fine)
		ask(t, b, 1)
		state(CircuitHalfOpen)
		all(fails(context.Canceled, never)) // says nothing, and leaves its place
		ask(t, b, 2*circuitProbes)
		state(CircuitHalfOpen)
		all(fine)
		ask(t, b, circuitProbes-1)
		state(CircuitClosed)

		all(lost)
		ask(t, b, circuitRequests)
		state(CircuitOpen)
		b.Replace([]string{"unix:///nowhere"})
		if _, err := ask(t, b, 1); !errors.Is(err, ErrDial) {
			t.Errorf("new addresses do not close it: %v", err)
		}
	})
}

// TestCircuitProbes lets no more than a few through at once, and hears nothing from an earlier trial.
func TestCircuitProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c circuit
		for range circuitRequests {
			c.leave(0, bad, ErrDial)
		}
		time.Sleep(time.Minute)
		var probes []uint64
		for range 2 * circuitProbes {
			if p, err := c.enter(); err == nil {
				probes = append(probes, p)
			}
		}
		if len(probes) != circuitProbes {
			t.Fatalf("%d at once", len(probes))
		}
		c.leave(probes[0], bad, ErrDial)
		time.Sleep(time.Minute)
		if _, err := c.enter(); err != nil {
			t.Fatal(err)
		}
		for _, late := range probes[1:] {
			c.leave(late, bad, ErrDial)
		}
		if c.probes != 1 || Circuit(c.state.Load()) != CircuitHalfOpen {
			t.Errorf("%d probes, %v", c.probes, Circuit(c.state.Load()))
		}
	})
}

// TestBalancerHolds plays at random and sees that what is promised holds at each step.
func TestBalancerHolds(t *testing.T) {
	kinds := []func() (*Response, again, error){fine, fine, dead, lost, broken, answers(502), fails(ErrTimeout, elsewhere)}
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			b, members := play(1+random.IntN(6), Options{})
			asked, sent := 0, int64(0)
			for range 300 {
				switch random.IntN(4) {
				case 0:
					members[random.IntN(len(members))].answer = kinds[random.IntN(len(kinds))]
				case 1:
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				default:
					n := random.IntN(10)
					asked += n
					ask(t, b, n)
				}
				out := len(off(b))
				v := b.current()
				if out > len(v.all)/2 && out < len(v.all) && !allFail(b) {
					t.Fatalf("seed %d: %d of %d are off", seed, out, len(v.all))
				}
				if len(v.ready) == 0 || b.circuit.probes < 0 || b.circuit.probes > circuitProbes {
					t.Fatalf("seed %d: %d ready, %d probes", seed, len(v.ready), b.circuit.probes)
				}
			}
			for _, m := range members {
				sent += m.asked.Load()
			}
			if s := b.State(); s.Repeats > uint64(asked/tokensPerRepeat+firstRepeats) || sent > int64(asked)*int64(len(members))+int64(s.Repeats) {
				t.Fatalf("seed %d: %d asked, %d sent, %+v", seed, asked, sent, s)
			}
		})
	}
}

// allFail reports whether addresses that are off went together, as all failed: some may be back already.
func allFail(b *Balancer) bool {
	for _, a := range b.all {
		if a.off == 0 {
			return false
		}
	}
	return true
}

// TestBalancingAllocatesNothing beyond what a single address costs.
func TestBalancingAllocatesNothing(t *testing.T) {
	b, members := play(3, Options{})
	answer := &Response{Status: 200}
	for _, m := range members {
		m.answer = func() (*Response, again, error) { return answer, never, nil }
	}
	r := &Request{Method: "GET"}
	if n := testing.AllocsPerRun(100, func() { _, _ = b.Do(t.Context(), r) }); n > 0 {
		t.Errorf("%v allocations per request", n)
	}
}
