// Package limit bounds how often a client address, a user, a route or a service is asked, with the generic
// cell rate algorithm. It counts in this process only; a limit across several gateways needs a shared store
// and is not made here.
package limit

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// The kinds of key (model.Limit.Per).
const (
	perAddress = "address"
	perUser    = "user"
	perRoute   = "route"
)

// limit is one declared limit, compiled for one route.
type limit struct {
	quota
	declared model.Limit
	name     string // shown name, a structured-field string, unique on the route
	table    *table
	seed     maphash.Seed
	fixed    uint64 // key of a route or service limit; 0: the key depends on the request
}

// stage holds the limits that are decided together: a request is charged to all of them or to none.
type stage struct {
	limits   []limit // by table order, which is the order of locking
	policies string
	all      string           // the policies of the stage before, if there is one, and these
	clock    func() time.Time // nil: the request's
	epoch    time.Time
}

// Compile returns the filters of one route's limits: address holds the limits per client address and runs
// before authentication, principal holds those per user, route and service and runs after it. Either is nil
// if there is none of its kind. A nil clock means the request's.
//
// Within a stage a refused request is charged to no limit. A request that passes the address stage stays
// charged there whatever a later stage decides, for that stage is what protects the later ones.
//
// Two limits with the same name, kind, rate and burst are one limit and share their quotas, even across
// routes with different costs; so limits that are meant to be apart need names of their own. A kind of key
// that is not known counts per service, the strictest.
func Compile(limits []model.Limit, routeID, service string, store *Store, clock func() time.Time) (address, principal proxy.Filter) {
	shown := make(map[string]int)
	var before, after []limit
	for _, l := range limits {
		if l.Name == "" {
			l.Name = l.Per
		}
		c := limit{quota: newQuota(l), declared: l, name: unique(shown, l.Name), table: store.table(l), seed: store.seed}
		same := func(o limit) bool { return o.table == c.table }
		switch l.Per {
		case perAddress:
			if !slices.ContainsFunc(before, same) {
				before = append(before, c)
			}
			continue
		case perUser:
		case perRoute:
			c.fixed = nonZero(maphash.String(store.seed, routeID))
		default:
			c.fixed = nonZero(maphash.String(store.seed, service))
		}
		if !slices.ContainsFunc(after, same) {
			after = append(after, c)
		}
	}
	first, second := newStage(before, store, clock), newStage(after, store, clock)
	if first != nil && second != nil {
		second.all = first.policies + ", " + second.policies
	}
	return filter(first), filter(second)
}

// filter returns nil, not a filter around nothing, if there is no stage.
func filter(s *stage) proxy.Filter {
	if s == nil {
		return nil
	}
	return s
}

// newStage returns nil if there are no limits.
func newStage(limits []limit, store *Store, clock func() time.Time) *stage {
	if len(limits) == 0 {
		return nil
	}
	var policies []string
	for _, l := range limits {
		policies = append(policies, policy(l.name, l.declared))
	}
	slices.SortFunc(limits, func(a, b limit) int { return int(a.table.order) - int(b.table.order) })
	return &stage{limits: limits, policies: strings.Join(policies, ", "), clock: clock, epoch: store.epoch}
}

// unique returns name as a structured-field string, numbered if it was seen before.
func unique(seen map[string]int, name string) string {
	seen[name]++
	if n := seen[name]; n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return quoted(name)
}

// claim is the state of one limit's key while its shard is locked.
type claim struct {
	part *shard
	slot *slot // nil: a key not seen, or forgotten
	key  uint64
	verdict
}

// Filter charges the request to every limit of the stage, or refuses it and charges none. A pass adds
// RateLimit-Policy with all policies and RateLimit with the one that leaves least.
func (s *stage) Filter(_ context.Context, r *proxy.Request) error {
	now := s.now(r)
	var few [8]claim // keeps the usual number of limits off the heap
	claims := few[:0]
	if len(s.limits) > len(few) {
		claims = make([]claim, 0, len(s.limits))
	}
	worst := -1
	for i := range s.limits {
		l := &s.limits[i]
		c := claim{key: l.key(r)}
		c.part = l.table.part(c.key)
		c.part.mu.Lock()
		arrival := now
		if c.slot = c.part.find(c.key); c.slot != nil {
			arrival = c.slot.arrival
		}
		c.verdict = l.decide(arrival, now)
		claims = append(claims, c)
		if c.wait > 0 && (worst < 0 || c.wait > claims[worst].wait) {
			worst = i
		}
	}
	if worst >= 0 {
		for i := range claims {
			claims[i].part.mu.Unlock()
		}
		return s.deny(claims, worst)
	}
	tightest, left, reset := 0, int64(-1), int64(0)
	for i := range claims {
		c, l := &claims[i], &s.limits[i]
		if c.slot != nil {
			c.slot.arrival = c.next
		} else {
			l.table.insert(c.part, c.key, c.next, now)
		}
		c.part.mu.Unlock()
		if n, t := l.state(c.next, now); left < 0 || n < left || n == left && t > reset {
			tightest, left, reset = i, n, t
		}
	}
	s.tell(r, &s.limits[tightest], left, ceilSeconds(reset))
	return nil
}

// now returns the time in nanoseconds since the store's epoch.
func (s *stage) now(r *proxy.Request) int64 {
	if s.clock != nil {
		return int64(s.clock().Sub(s.epoch))
	}
	return int64(r.Now().Sub(s.epoch))
}

const (
	fieldPolicy = "Ratelimit-Policy"
	fieldLimit  = "Ratelimit"
)

// tell adds the fields of a request that passed. Both are lists (RFC 9651, section 3.1), so what the stage before
// said is continued: two lines cost less than four.
func (s *stage) tell(r *proxy.Request, l *limit, left, reset int64) {
	i := -1
	if s.all != "" {
		i = slices.IndexFunc(r.Answer, func(f field.Field) bool { return f.Name == fieldPolicy })
	}
	if i < 0 {
		r.Answer.Add(fieldPolicy, s.policies)
		r.Answer.Add(fieldLimit, l.table.texts.item("", l.name, left, reset))
		return
	}
	r.Answer[i].Value = s.all
	next := &r.Answer[i+1] // the two are added together
	next.Value = l.table.texts.item(next.Value, l.name, left, reset)
}

// deny writes the refusal: a reason for each limit that refuses, and the wait of the longest.
func (s *stage) deny(claims []claim, worst int) error {
	var reasons []event.Reason
	for i := range claims {
		if claims[i].wait <= 0 {
			continue
		}
		l, wait := &s.limits[i], ceilSeconds(claims[i].wait)
		rate, _ := l.declared.Rate.MarshalText() // never fails
		reasons = append(reasons, event.Reason{
			Code: "limit-exceeded",
			Text: "limit " + l.declared.Name + " allows " + string(rate) + " per " + l.declared.Per,
			Data: map[string]string{
				"limit": l.declared.Name, "per": l.declared.Per, "rate": string(rate),
				"cost":      strconv.Itoa(max(l.declared.Cost, 1)),
				"remaining": "0", "reset": strconv.FormatInt(wait, 10),
			},
		})
	}
	l, wait := &s.limits[worst], max(ceilSeconds(claims[worst].wait), 1)
	seconds := strconv.FormatInt(wait, 10)
	return &proxy.Denial{
		Kind:    proxy.KindLimited,
		Detail:  "Try again in " + seconds + " s.",
		Reasons: reasons,
		Header: field.List{
			{Name: "Retry-After", Value: seconds},
			{Name: fieldPolicy, Value: s.policies},
			{Name: fieldLimit, Value: l.table.texts.item("", l.name, 0, wait)},
		},
	}
}

// key returns what the limit counts by, hashed with the store's seed. Keys of users and of addresses that
// stand in for a missing user never meet.
func (l *limit) key(r *proxy.Request) uint64 {
	if l.fixed != 0 {
		return l.fixed
	}
	if l.declared.Per == perUser && r.User != nil {
		var h maphash.Hash
		h.SetSeed(l.seed)
		_ = h.WriteByte('u')
		_, _ = h.WriteString(r.User.Provider)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(r.User.Subject)
		return nonZero(h.Sum64())
	}
	b := network(r.Client, l.declared.IPv6)
	return nonZero(maphash.Bytes(l.seed, b[:]))
}

// network returns the bytes that stand for a client: an IPv4 address whole (also if mapped into IPv6), an IPv6
// address up to the prefix, 64 bits by default, without its zone. An address that is not valid is one client.
func network(a netip.Addr, prefix int) (b [18]byte) {
	a = a.Unmap().WithZone("")
	switch {
	case a.Is4():
		v4 := a.As4()
		b[0] = '4'
		copy(b[1:], v4[:])
	case a.Is6():
		if prefix <= 0 || prefix > 128 {
			prefix = 64
		}
		p, _ := a.Prefix(prefix) // the prefix is in range
		v6 := p.Addr().As16()
		b[0], b[17] = '6', byte(prefix)
		copy(b[1:], v6[:])
	}
	return b
}

// nonZero keeps 0 for empty slots.
func nonZero(h uint64) uint64 { return max(h, 1) }
