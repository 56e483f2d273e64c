package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	circuitWindow   = 10 * time.Second // begins with a failure
	circuitRequests = 20               // fewer within a window say nothing
	circuitProbes   = 3                // at once while half-open; so many good ones close it
	circuitLongest  = 2 * time.Second  // open: for so long a service that is back goes without requests; three probes are no load
)

// Circuit is whether requests to a service pass.
type Circuit uint8

// The states of a circuit.
const (
	CircuitClosed   Circuit = iota // they pass
	CircuitOpen                    // they are refused
	CircuitHalfOpen                // a few pass, to see whether the service is back
)

func (c Circuit) String() string {
	switch c {
	case CircuitClosed:
		return "closed"
	case CircuitOpen:
		return "open"
	case CircuitHalfOpen:
		return "half-open"
	}
	return "unknown"
}

// circuit refuses requests to a service of which half have failed lately. A closed one costs a request no lock and
// no look at the clock.
type circuit struct {
	state   atomic.Uint32
	good    atomic.Int64 // answers since the window began
	refused atomic.Uint64

	mu     sync.Mutex
	bad    int64
	cause  error     // of the last failure
	began  time.Time // the window
	until  time.Time // open
	opened int       // in a row
	trial  uint64    // counts the times that it was half-open
	probes int       // under way in this trial
	proven int
}

// enter lets a request pass or returns ErrOpen. The trial that it is a probe of is given back to leave; 0: it is none.
func (c *circuit) enter() (uint64, error) {
	if Circuit(c.state.Load()) == CircuitClosed {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch Circuit(c.state.Load()) {
	case CircuitClosed:
		return 0, nil
	case CircuitOpen:
		if time.Now().Before(c.until) {
			break
		}
		c.state.Store(uint32(CircuitHalfOpen))
		c.trial++
		c.probes, c.proven = 1, 0
		return c.trial, nil
	case CircuitHalfOpen:
		if c.probes < circuitProbes {
			c.probes++
			return c.trial, nil
		}
	}
	c.refused.Add(1)
	return 0, &OpenError{c.cause}
}

// leave ends what enter let pass. Cause is why it was bad.
func (c *circuit) leave(probe uint64, v verdict, cause error) {
	if probe != 0 {
		c.judgeProbe(probe, v, cause)
		return
	}
	switch v {
	case good:
		c.good.Add(1)
	case bad:
		c.fail(cause)
	case void:
	}
}

func (c *circuit) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cause = cause
	if Circuit(c.state.Load()) != CircuitClosed {
		return
	}
	now := time.Now()
	if now.Sub(c.began) > circuitWindow {
		c.began, c.bad = now, 0
		c.good.Store(0)
	}
	c.bad++
	if ok := c.good.Load(); c.bad+ok >= circuitRequests && c.bad >= ok {
		c.open(now)
	}
}

func (c *circuit) judgeProbe(trial uint64, v verdict, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if trial != c.trial || Circuit(c.state.Load()) != CircuitHalfOpen {
		return // of an earlier trial
	}
	c.probes--
	switch v {
	case good:
		if c.proven++; c.proven == circuitProbes {
			c.opened, c.began = 0, time.Time{}
			c.state.Store(uint32(CircuitClosed))
		}
	case bad:
		c.cause = cause
		c.open(time.Now())
	case void:
	}
}

func (c *circuit) open(now time.Time) {
	c.until = now.Add(backOff(c.opened, circuitLongest))
	c.opened++
	c.state.Store(uint32(CircuitOpen))
}

// hurry tries a service again that has got new addresses.
func (c *circuit) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Time{}
}

const (
	tokensPerRepeat = 5   // requests that earn one repeat: at most 20 % more load
	firstRepeats    = 10  // before any are earned
	mostRepeats     = 100 // that can be saved up
)

// budget bounds how much load repeats add: what fails because it is overloaded must not get more.
type budget struct{ tokens atomic.Int64 }

func (b *budget) earn() {
	if b.tokens.Load() < mostRepeats*tokensPerRepeat {
		b.tokens.Add(1)
	}
}

// spend reports whether a request may be repeated, and pays for it.
func (b *budget) spend() bool {
	for {
		n := b.tokens.Load()
		if n < tokensPerRepeat {
			return false
		}
		if b.tokens.CompareAndSwap(n, n-tokensPerRepeat) {
			return true
		}
	}
}
