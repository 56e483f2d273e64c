package events

import (
	"container/list"
	"sync"
)

// extent is some bytes of an object, as they are read: those of a column.
type extent struct {
	object string
	at     int64
	size   int
}

// cache keeps what was read from a bucket last: who looks at old days looks at the same columns again, and who delivers old events asks
// for the same ids and times.
type cache struct {
	most int // bytes

	mu    sync.Mutex
	bytes int
	used  *list.List // of kept, the last used first
	of    map[extent]*list.Element
}

type kept struct {
	extent
	data []byte
}

func newCache(most int) *cache {
	return &cache{most: most, used: list.New(), of: map[extent]*list.Element{}}
}

// get copies bytes that are kept into p.
func (c *cache) get(e extent, p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.of[e]
	if found == nil {
		return false
	}
	c.used.MoveToFront(found)
	copy(p, found.Value.(*kept).data)
	return true
}

// put keeps a copy of bytes, unless they would take the place of too much.
func (c *cache) put(e extent, data []byte) {
	if len(data) > c.most/4 {
		return
	}
	one := &kept{e, append([]byte(nil), data...)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[e] != nil {
		return
	}
	c.of[e] = c.used.PushFront(one)
	for c.bytes += len(data); c.bytes > c.most; {
		last := c.used.Back()
		gone := c.used.Remove(last).(*kept)
		delete(c.of, gone.extent)
		c.bytes -= len(gone.data)
	}
}
