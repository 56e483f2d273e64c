package hostile_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// crowd is how many hostile connections there are at once.
const crowd = 300

// most is what the heap may grow by under attack, both ends of every connection and the race detector's
// allocations included.
const most = 192 << 20

// heap returns the bytes of heap in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// during runs an attack while two well-behaved clients, one of which opens a connection for each request, are
// served throughout. It checks what the attack costs in memory: the attack calls full when it is at its height.
func (f *front) during(t *testing.T, attack func(full func())) {
	t.Helper()
	before := heap()
	ctx, stop := context.WithTimeout(t.Context(), 2*hang)
	defer stop()
	var wg sync.WaitGroup
	counts := make([]int, 2)
	for i := range counts {
		c := f.client(t)
		if tr, ok := c.Transport.(*http.Transport); ok {
			tr.DisableKeepAlives = i == 1
		}
		wg.Go(func() { counts[i] = f.keepAsking(ctx, t, c) })
	}
	var height uint64
	attack(func() { height = heap() })
	stop()
	wg.Wait()
	grown := int64(height) - int64(before)
	t.Logf("%d and %d requests of others served; heap before %.1f MiB, at the height %.1f MiB, after %.1f MiB",
		counts[0], counts[1], mib(before), mib(height), mib(heap()))
	if grown > most {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if counts[0] == 0 || counts[1] == 0 {
		t.Error("others were not served")
	}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// keepAsking sends requests until ctx ends and returns how many were served. Attackers and the attacked share the processors here: if that makes
// the handshake of an honest client so slow that it is cut, the client comes again at once, as people do. Two in a row are an error.
func (f *front) keepAsking(ctx context.Context, t *testing.T, c *http.Client) int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		err := served(ctx, c)
		if err != nil && ctx.Err() == nil {
			t.Logf("another client's request %d, which comes again: %v", n, err)
			c.CloseIdleConnections()
			err = served(ctx, c)
		}
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("another client's request %d: %v", n, err)
			}
			return n
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n + 1
		}
	}
}

// settle waits until no request is in flight but those of the well-behaved.
func (f *front) settle(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(hang)
	for f.engine.InFlight() > 2 {
		select {
		case <-tick.C:
		case <-end:
			t.Errorf("%d requests are still in flight", f.engine.InFlight())
			return
		}
	}
}
