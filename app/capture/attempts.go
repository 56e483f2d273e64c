package capture

import (
	"net/netip"
	"time"
)

// Attempt is an attempt to get past a sidecar: packets of one kind that were dropped.
type Attempt struct {
	Service  string
	Time     time.Time      // of the first
	Inbound  bool           // to the service, or in the name of it or its sidecar; false: the service sent them
	Protocol string         // tcp, udp, icmp...; empty: of several kinds
	From, To netip.AddrPort // port 0: the protocol has none; not valid: of several kinds
	UID      int64          // who sent them; -1: not known, or several
	Count    uint64         // packets, beyond those that were told before
}

// What keeps a flood from filling the record.
const (
	window    = 30 * time.Second // in which packets of one kind are told twice at most: the first, and how many more
	mostKinds = 64               // in a window; all others are told as one
)

// kind is what packets are counted by. Ports of clients are not part of it.
type kind struct {
	inbound  bool
	protocol uint8
	from     netip.Addr // of an inbound one
	to       netip.AddrPort
	uid      int64
}

// tally counts packets in a window. It is not safe for concurrent use.
type tally struct {
	service string
	kinds   map[kind]*Attempt // of each, those after the first
	others  Attempt
	last    uint32 // number of the packet before
	counts  bool   // there was one
}

func newTally(service string) *tally {
	return &tally{service: service, kinds: map[kind]*Attempt{}, others: Attempt{Service: service, UID: -1}}
}

// add counts a packet, and those that were lost before it, and returns what is to be told at once.
func (t *tally) add(p packet, now time.Time) (Attempt, bool) {
	if lost := p.seq - t.last - 1; t.counts && lost > 0 && lost < 1<<31 {
		t.count(&t.others, now, uint64(lost))
	}
	t.last, t.counts = p.seq, true
	k := kind{inbound: p.inbound, protocol: p.protocol, to: p.to, uid: p.uid}
	if p.inbound {
		k.from = p.from.Addr()
	}
	if a := t.kinds[k]; a != nil {
		t.count(a, now, 1)
		return Attempt{}, false
	}
	if len(t.kinds) >= mostKinds {
		t.count(&t.others, now, 1)
		return Attempt{}, false
	}
	a := Attempt{Service: t.service, Time: now, Inbound: p.inbound, Protocol: protocolName(p.protocol), From: p.from, To: p.to, UID: p.uid}
	t.kinds[k] = &a
	first := a
	first.Count = 1
	return first, true
}

func (t *tally) count(a *Attempt, now time.Time, n uint64) {
	if a.Count == 0 {
		a.Time = now
	}
	a.Count += n
}

// flush ends the window and returns what it holds beyond what was told.
func (t *tally) flush() []Attempt {
	var all []Attempt
	for _, a := range t.kinds {
		if a.Count > 0 {
			all = append(all, *a)
		}
	}
	if t.others.Count > 0 {
		all = append(all, t.others)
	}
	clear(t.kinds)
	t.others.Count = 0
	return all
}
