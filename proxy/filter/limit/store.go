package limit

import (
	"hash/maphash"
	"sync"
	"time"
	"weak"

	"github.com/palisade-security/palisade/model"
)

// defaultCapacity is the number of keys a limit remembers unless told otherwise.
const defaultCapacity = 1 << 20

// Store remembers what each key has used. It lives outside the compiled filters, so that a reload of the model
// changes no quota: a limit with the same name, key kind, rate and burst finds its state again. It holds at
// most the given number of keys for each such limit, about 22 bytes each when full; see table.insert for what
// it forgets then. The state of a limit that no compiled filter uses any more is left to the garbage
// collector. A Store is safe for concurrent use. Nothing is written to disk: a restart fills every quota.
type Store struct {
	capacity int
	seed     maphash.Seed
	epoch    time.Time // arrival times count from here, on the monotonic clock

	mu     sync.Mutex
	order  uint64
	tables map[identity]weak.Pointer[table]
}

// identity is what makes two declared limits the same one.
type identity struct {
	per, name string
	count     int
	window    time.Duration
	burst     int
}

// NewStore returns a store that remembers up to capacity keys of each limit; 0 or less means a million.
func NewStore(capacity int) *Store {
	if capacity <= 0 {
		capacity = defaultCapacity
	}
	return &Store{
		capacity: capacity,
		seed:     maphash.MakeSeed(),
		epoch:    time.Now(),
		tables:   make(map[identity]weak.Pointer[table]),
	}
}

// table returns the state of a limit, the same as long as anyone holds it.
func (s *Store) table(l model.Limit) *table {
	id := identity{l.Per, l.Name, l.Rate.Count, l.Rate.Window, l.Burst}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[id].Value(); t != nil {
		return t
	}
	for id, t := range s.tables {
		if t.Value() == nil {
			delete(s.tables, id)
		}
	}
	s.order++
	t := newTable(s.order, s.capacity)
	s.tables[id] = weak.Make(t)
	return t
}
