package learn

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/topology"
)

// Kind is what something unused is.
type Kind string

// The kinds.
const (
	Caller   Kind = "caller"   // a service that may call another
	Exposure Kind = "exposure" // a path at the edge, or one served to other services
	Grant    Kind = "grant"
	Method   Kind = "method"
	Role     Kind = "role"
	Host     Kind = "host" // outside the fleet
)

// Unseen is something that is declared and was not used in the time that counts.
type Unseen struct {
	Key      string         `json:"key"` // where it stands in the model
	Kind     Kind           `json:"kind"`
	Words    string         `json:"words"`
	Last     time.Time      `json:"last,omitzero"` // when it was used before that time, as far as is known
	Sure     float64        `json:"sure"`          // how much of four weeks, hour by hour, whoever would use it was watched
	Proposed bool           `json:"proposed"`
	Why      string         `json:"why,omitempty"` // it is not proposed
	Position model.Position `json:"position"`

	also []string // keys that go with it
}

// Attempt is a call that nobody declared, and that was tried. None is ever proposed.
type Attempt struct {
	From  string    `json:"from"`
	To    string    `json:"to"`
	Calls int64     `json:"calls"`
	Last  time.Time `json:"last"`
}

// Proposal is what can be taken away.
type Proposal struct {
	Since    time.Time `json:"since,omitzero"`
	First    time.Time `json:"first,omitzero"` // of the events within the time that counts
	Last     time.Time `json:"last,omitzero"`
	Events   int64     `json:"events"`
	Hours    int       `json:"hours"` // of the 168 of a week in which the edge was at work
	Days     int       `json:"days"`
	Enough   float64   `json:"enough"` // how sure something must be
	Unseen   []Unseen  `json:"unseen"`
	Attempts []Attempt `json:"attempts,omitempty"`
}

// Keys are the key paths of what is proposed to go.
func (p *Proposal) Keys() (keys []string) {
	for i := range p.Unseen {
		if u := &p.Unseen[i]; u.Proposed {
			keys = append(append(keys, u.Key), u.also...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Propose says what was not used. Of that, what is at least so sure (0 to 1) is proposed to go.
func (v *Evidence) Propose(enough float64) *Proposal {
	m := v.calls.Map()
	edge := v.active[topology.EdgeNode]
	p := &proposer{v: v, now: m, before: v.before.Map(), out: &Proposal{Since: v.since, First: m.From, Last: m.Until, Events: v.decided, Enough: enough, Unseen: []Unseen{}}}
	p.out.Hours, p.out.Days = edge.Hours(), edge.Days()
	for i := range v.snap.Services {
		p.service(&v.snap.Services[i])
	}
	for i := range m.Edges {
		if e := &m.Edges[i]; !e.Declared && e.Seen != nil && e.Seen.Refused > 0 {
			p.out.Attempts = append(p.out.Attempts, Attempt{e.From, e.To, e.Seen.Refused, e.Seen.Last})
		}
	}
	slices.SortFunc(p.out.Attempts, func(a, b Attempt) int { return cmp.Compare(b.Calls, a.Calls) })
	return p.out
}

type proposer struct {
	v           *Evidence
	now, before *topology.Map
	out         *Proposal
}

// add notes something unused that somebody would have to use; whyNot keeps it out of the proposal.
func (p *proposer) add(u Unseen, by, whyNot string) {
	u.Sure = p.v.active[by].Sure()
	switch {
	case whyNot != "":
		u.Why = whyNot
	case p.v.active[by] == nil && by == topology.EdgeNode:
		u.Why = "nobody asked at the edge"
	case p.v.active[by] == nil:
		u.Why = by + " was not seen at work"
	case u.Sure < p.out.Enough:
		u.Why = "not sure enough"
	default:
		u.Proposed = true
	}
	p.out.Unseen = append(p.out.Unseen, u)
}

func (p *proposer) service(s *model.ResolvedService) {
	declared := p.v.fleet.Services[s.Name]
	if s.Broker == "" { // what passes through a broker is no call
		p.callers(s, &declared)
		p.serve(s, &declared)
	}
	for i := range declared.Expose {
		p.expose(s, &declared, i)
	}
	for i, h := range declared.Egress {
		p.egress(s, i, h)
	}
}

// used reports whether an edge of the map was, and when it was last before.
func (p *proposer) used(from, to string, kind topology.EdgeKind) (used bool, last time.Time) {
	if e := p.now.Edge(from, to, kind); e != nil && e.Used() {
		return true, e.Seen.Last
	}
	if e := p.before.Edge(from, to, kind); e != nil && e.Used() {
		last = e.Seen.Last
	}
	return false, last
}

func (p *proposer) callers(s *model.ResolvedService, declared *model.Service) {
	var unused []Unseen
	for i, caller := range declared.Callers {
		used, last := p.used(caller, s.Name, topology.Call)
		if !used {
			unused = append(unused, Unseen{
				Key: model.Key("services", s.Name, "callers", i), Kind: Caller, Words: caller + " calls " + s.Name, Last: last, Position: s.Position,
			})
		}
	}
	all := len(unused) == len(declared.Callers)
	for i := range unused {
		u := &unused[i]
		caller := declared.Callers[indexOf(u.Key)]
		why := ""
		for n, entry := range declared.Serve {
			switch {
			case all: // without callers there is nothing to serve
				u.also = append(u.also, model.Key("services", s.Name, "serve", n))
			case slices.Contains(entry.Callers, caller) && len(entry.Callers) == 1:
				why = "it is the only caller of " + entry.Path + " in serve; take that away, too"
			case slices.Contains(entry.Callers, caller):
				u.also = append(u.also, model.Key("services", s.Name, "serve", n, "callers", slices.Index(entry.Callers, caller)))
			}
		}
		if all && len(unused) > 1 && len(declared.Serve) > 0 && !p.allSure(declared.Callers) {
			why = "not sure enough of all callers, and serve is for them"
		}
		p.add(*u, caller, why)
	}
}

// allSure reports whether all of some services were watched for long enough.
func (p *proposer) allSure(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return p.v.active[n] == nil || p.v.active[n].Sure() < p.out.Enough })
}

// serve looks at what services are served by path, where the path names them.
func (p *proposer) serve(s *model.ResolvedService, declared *model.Service) {
	for n, entry := range declared.Serve {
		u := p.v.routes["mesh:"+s.Name+":"+entry.Path]
		for i, caller := range entry.Callers {
			id := model.ServiceID(p.v.snap.TrustDomain, caller)
			used, last := u.any(func(w who) bool { return w.caller == id })
			if used || slices.Contains(declared.Callers, caller) && !p.edgeUsed(caller, s.Name) {
				continue // used, or told of as a caller of the service
			}
			why, key := "", model.Key("services", s.Name, "serve", n, "callers", i)
			if len(entry.Callers) == 1 { // without it the path would be for all callers: the path goes
				key = model.Key("services", s.Name, "serve", n)
				if wider := meets(s.Serve, "mesh:"+s.Name+":"+entry.Path); wider != "" || len(declared.Callers) > 0 {
					why = "it is the only caller of the path, and others could then ask for it: decide by hand"
				}
			}
			p.add(Unseen{Key: key, Kind: Caller, Words: caller + " calls " + s.Name + " " + entry.Path, Last: last, Position: s.Position}, caller, p.orFull(u, why))
		}
	}
}

func (p *proposer) edgeUsed(from, to string) bool {
	used, _ := p.used(from, to, topology.Call)
	return used
}

func (p *proposer) orFull(u *uses, why string) string {
	if why == "" && u.full() {
		return "too many sorts of users to tell them apart"
	}
	return why
}

func (p *proposer) egress(s *model.ResolvedService, i int, h model.Egress) {
	for _, e := range s.Egress {
		if e.Host != h.Host || h.Port != 0 && e.Port != h.Port {
			continue
		}
		to := net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
		if used, last := p.used(s.Name, to, topology.Egress); !used {
			p.add(Unseen{Key: model.Key("services", s.Name, "egress", i), Kind: Host, Words: s.Name + " reaches " + to, Last: last, Position: s.Position}, s.Name, "")
		}
		return
	}
}

// indexOf is the last index of a key path.
func indexOf(key string) int {
	n := 0
	for _, c := range strings.TrimSuffix(key[strings.LastIndexByte(key, '[')+1:], "]") {
		n = n*10 + int(c-'0')
	}
	return n
}
