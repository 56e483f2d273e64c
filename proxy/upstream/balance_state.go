package upstream

import "time"

// State is how a service and its addresses do, for metrics and status.
type State struct {
	Circuit   Circuit
	Refused   uint64 // requests, while the circuit was open
	Repeats   uint64 // of requests that are safe to repeat; another address tried in place of one out of reach is none
	GivenUp   uint64 // requests that failed though they were safe to repeat: too often already, or too many others
	Addresses []AddressState
}

// AddressState is how one address does.
type AddressState struct {
	Address  string
	InFlight int           // requests and tunnels
	Requests uint64        // sent there
	Failed   uint64        // of them
	Failures int           // in a row
	Off      time.Duration // it is passed over for so much longer; 0: it is not
	Draining bool          // it was replaced and answers what is left
}

// State returns how things are now: addresses in their order, then those draining.
func (b *Balancer) State() State {
	c := &b.circuit
	s := State{Circuit: Circuit(c.state.Load()), Refused: c.refused.Load(), Repeats: b.repeats.Load(), GivenUp: b.givenUp.Load()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drained()
	now := time.Now()
	s.Addresses = make([]AddressState, 0, len(b.all)+len(b.draining))
	for _, a := range b.all {
		s.Addresses = append(s.Addresses, a.state(now))
	}
	for _, a := range b.draining {
		d := a.state(now)
		d.Draining = true
		s.Addresses = append(s.Addresses, d)
	}
	return s
}

func (a *address) state(now time.Time) AddressState {
	return AddressState{
		Address: a.name, InFlight: a.member.inFlight(), Requests: a.requests.Load(), Failed: a.failed.Load(),
		Failures: int(a.streak.Load()), Off: max(a.until.Sub(now), 0),
	}
}
