package control

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/control/admin"
)

// counts are what this control has done since its start.
type counts struct {
	enrolled, renewed, refused atomic.Uint64
	kept, forged               atomic.Uint64 // events of proxies
}

// Counts is how a control stands, in numbers.
type Counts struct {
	Version string // of the model in force; empty: none
	Leads   bool
	Bus     bool // it is connected to the bus
	Lag     time.Duration
	List    uint64    // sequence number of the revocation list
	Ends    time.Time // of the last intermediate; zero: another issues

	Proxies       map[string]int // by state: current, behind, rejecting, stale, away
	Ending, Ended int            // SVIDs of proxies that are not away

	Enrolled, Renewed, Refused uint64 // since the start, by this control
	Kept, Forged               uint64 // events that proxies delivered: kept, and refused since the sender cannot have made them
}

// The states of proxies. Each proxy is in one.
const (
	stateCurrent   = "current"
	stateBehind    = "behind"    // not yet, or not at all, on what is in force
	stateRejecting = "rejecting" // it did not take what is in force
	stateStale     = "stale"     // its SVID has ended
	stateAway      = "away"
)

// Count counts. It looks at every proxy: not for every request, but well for every scrape.
func (c *Control) Count() Counts {
	s := c.Status()
	out := Counts{
		Version: s.InForce.Version, Leads: s.Leads, Bus: c.onBus(), List: s.Authority.List, Ends: s.Authority.Ends,
		Proxies:  map[string]int{stateCurrent: 0, stateBehind: 0, stateRejecting: 0, stateStale: 0, stateAway: 0},
		Enrolled: c.counts.enrolled.Load(), Renewed: c.counts.renewed.Load(), Refused: c.counts.refused.Load(),
		Kept: c.counts.kept.Load(), Forged: c.counts.forged.Load(),
	}
	for i := range s.Proxies {
		p := &s.Proxies[i]
		state := stateOf(p)
		out.Proxies[state]++
		if state == stateAway {
			continue
		}
		out.Lag = max(out.Lag, p.Lag.Std())
		switch {
		case p.Expires.IsZero():
		case !s.Time.Before(p.Expires):
			out.Ended++
		case p.Ending(s.Time):
			out.Ending++
		}
	}
	return out
}

func stateOf(p *admin.Proxy) string {
	switch {
	case p.Away:
		return stateAway
	case p.Stale != "":
		return stateStale
	case p.Rejected != "":
		return stateRejecting
	case p.Current:
		return stateCurrent
	}
	return stateBehind
}

// onBus tells whether proxies can be told anything.
func (c *Control) onBus() bool {
	client := c.link.Load()
	return client != nil && client.Connected()
}

// Ready tells why this control can be of no use to proxies, if so. One that does not lead is of use.
func (c *Control) Ready() error {
	var errs []error
	if cert, err := c.own.certificate(); err != nil {
		errs = append(errs, err)
	} else if !time.Now().Before(cert.Leaf.NotAfter) {
		errs = append(errs, errors.New("our own identity has expired"))
	}
	if !c.onBus() {
		errs = append(errs, errors.New("the bus is away"))
	}
	if c.fleet.Load() == nil {
		errs = append(errs, errors.New("no model is in force"))
	}
	return errors.Join(errs...)
}
