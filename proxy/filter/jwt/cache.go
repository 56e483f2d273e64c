package jwt

import (
	"crypto/sha256"
	"sync"
)

// tokenID is the SHA-256 of a token: a cache must not hold tokens.
type tokenID = [sha256.Size]byte

const shards = 16

// cache remembers verified tokens, at most a fixed number of them. Only tokens that were verified get in, so
// nobody can fill it without an issuer's help. It evicts by the clock algorithm, a cheap form of least
// recently used. It is safe for concurrent use.
type cache struct{ shard [shards]cacheShard }

// cacheShard is one independently locked part.
type cacheShard struct {
	mu    sync.Mutex
	index map[tokenID]int
	slots []cacheSlot
	size  int
	hand  int
	_     [64]byte // shards on cache lines of their own
}

// cacheSlot is one remembered token. An empty slot has no value.
type cacheSlot struct {
	id    tokenID
	value *verified
	used  bool
}

// newCache makes a cache for about size tokens.
func newCache(size int) *cache {
	c := &cache{}
	for i := range c.shard {
		c.shard[i].size = max(size/shards, 1)
		c.shard[i].index = map[tokenID]int{}
	}
	return c
}

// of returns the shard of id.
func (c *cache) of(id *tokenID) *cacheShard { return &c.shard[id[0]%shards] }

// get returns what is remembered of id, or nil.
func (c *cache) get(id tokenID) *verified {
	s := c.of(&id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[id]
	if !ok {
		return nil
	}
	s.slots[i].used = true
	return s.slots[i].value
}

// drop forgets id if v is still what is remembered of it.
func (c *cache) drop(id tokenID, v *verified) {
	s := c.of(&id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[id]; ok && s.slots[i].value == v {
		delete(s.index, id)
		s.slots[i] = cacheSlot{}
	}
}

// put remembers v.
func (c *cache) put(id tokenID, v *verified) {
	s := c.of(&id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[id]
	if !ok {
		i = s.free()
		s.index[id] = i
	}
	s.slots[i] = cacheSlot{id: id, value: v}
}

// free returns an empty slot. It turns at most twice around: the first turn takes every mark away.
func (s *cacheShard) free() int {
	if len(s.slots) < s.size {
		s.slots = append(s.slots, cacheSlot{})
		return len(s.slots) - 1
	}
	for {
		i := s.hand
		s.hand = (s.hand + 1) % len(s.slots)
		slot := &s.slots[i]
		if slot.value == nil {
			return i
		}
		if !slot.used {
			delete(s.index, slot.id)
			return i
		}
		slot.used = false
	}
}
