package limit

import (
	"sync"
	"sync/atomic"
)

const (
	shards = 64
	ways   = 8
)

// slot holds one key and its theoretical arrival time. Key 0 is an empty slot.
type slot struct {
	key     uint64
	arrival int64
}

// live reports whether forgetting the slot at now would change a decision.
func (s *slot) live(now int64) bool { return s.key != 0 && s.arrival > now }

// set is what one hash points at: two cache lines.
type set [ways]slot

// shard is a part of a table under one lock. A key may stand in either of two sets (two-choice hashing), which
// lets a shard fill to eight tenths before a choice commonly fails.
type shard struct {
	mu   sync.Mutex
	sets []set
	_    [96]byte // keeps two locks off one pair of cache lines
}

// table keeps the arrival times of one limit's keys. It begins small, doubles while it must, and never holds
// more than its capacity; past that it forgets as insert says.
type table struct {
	order   uint64 // tables are locked in this order
	maxSets int    // per shard
	parts   [shards]shard
	texts   texts
	evicted atomic.Int64 // live keys forgotten for lack of room
}

func newTable(order uint64, capacity int) *table {
	perShard := (capacity + shards - 1) / shards
	sets := (perShard*4/3 + ways - 1) / ways // a quarter stays free, see shard
	return &table{order: order, maxSets: max(sets, 1)}
}

// part returns the shard of a key.
func (t *table) part(key uint64) *shard { return &t.parts[key>>58] }

// choices returns the two sets a key may stand in. The shard must have sets.
func (p *shard) choices(key uint64) (a, b *set) {
	n := uint64(len(p.sets))
	return &p.sets[(key&0xffffffff)*n>>32], &p.sets[(key>>26&0xffffffff)*n>>32]
}

// find returns the slot of key, or nil. The shard must be locked.
func (p *shard) find(key uint64) *slot {
	if len(p.sets) == 0 {
		return nil
	}
	a, b := p.choices(key)
	for i := range a {
		if a[i].key == key {
			return &a[i]
		}
	}
	for i := range b {
		if b[i].key == key {
			return &b[i]
		}
	}
	return nil
}

// insert stores a key that find did not find. It takes, in this order: a slot that is empty or whose quota is
// whole again, room gained by growing, and at capacity the slot with the least debt of the two sets. The new
// key is always stored: were it not, a flood could make itself invisible. The shard must be locked.
//
// What a flood can do with that: all keys of a table obey one limit, so debts compare. Keys that flood carry
// the debt of few requests and evict each other; to make the table forget a key with debt D, every slot of
// its two sets must first hold a debt above D, which costs D per slot, in sets that an attacker cannot aim
// at because the hash is seeded. Whatever is forgotten is the least debt in sight.
func (t *table) insert(p *shard, key uint64, arrival, now int64) {
	for {
		if s := p.free(key, now); s != nil {
			*s = slot{key, arrival}
			return
		}
		if len(p.sets) >= t.maxSets {
			break
		}
		t.grow(p, now)
	}
	a, b := p.choices(key)
	least := &a[0]
	for i := range ways {
		if a[i].arrival < least.arrival {
			least = &a[i]
		}
		if b[i].arrival < least.arrival {
			least = &b[i]
		}
	}
	t.evicted.Add(1)
	*least = slot{key, arrival}
}

// free returns a slot that may be overwritten, from the emptier of the two sets, or nil.
func (p *shard) free(key uint64, now int64) *slot {
	if len(p.sets) == 0 {
		return nil
	}
	a, b := p.choices(key)
	sa, na := vacancy(a, now)
	sb, nb := vacancy(b, now)
	if nb > na {
		return sb
	}
	return sa
}

// vacancy returns one slot of s that is not live, and how many there are.
func vacancy(s *set, now int64) (vacant *slot, n int) {
	for i := range s {
		if !s[i].live(now) {
			vacant, n = &s[i], n+1
		}
	}
	return vacant, n
}

// grow doubles a shard within its capacity and drops what is no longer live.
func (t *table) grow(p *shard, now int64) {
	old := p.sets
	p.sets = make([]set, min(max(2*len(old), 1), t.maxSets))
	for i := range old {
		for j := range old[i] {
			s := &old[i][j]
			if !s.live(now) {
				continue
			}
			if to := p.free(s.key, now); to != nil {
				*to = *s
				continue
			}
			t.displace(p, *s)
		}
	}
}

// displace stores a slot that found no room while growing, in place of the least debt if that is less.
func (t *table) displace(p *shard, s slot) {
	a, b := p.choices(s.key)
	least := &s
	for i := range ways {
		if a[i].arrival < least.arrival {
			least = &a[i]
		}
		if b[i].arrival < least.arrival {
			least = &b[i]
		}
	}
	*least = s
	t.evicted.Add(1)
}
