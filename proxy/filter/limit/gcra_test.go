package limit

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
)

// bucket is a leaky bucket in whole units of work, the other form of the same algorithm (ITU-T I.371, annex A):
// it is drained step by step and counts in nanoseconds times the rate, so that nothing is rounded.
type bucket struct {
	level, last     int64 // level: units * window
	count, capacity int64
	cost            int64
}

func newBucket(l model.Limit) *bucket {
	w := int64(l.Rate.Window)
	return &bucket{count: int64(l.Rate.Count), capacity: int64(l.Burst) * w, cost: int64(l.Cost) * w}
}

func (b *bucket) take(now int64) bool {
	b.level = max(0, b.level-(now-b.last)*b.count)
	b.last = now
	if b.level+b.cost > b.capacity {
		return false
	}
	b.level += b.cost
	return true
}

func TestAgreesWithLeakyBucket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		// Windows that the rate divides, so that both forms are exact.
		count := 1 + random.IntN(20)
		l := model.Limit{Rate: model.Rate{Count: count, Window: time.Duration(count) * time.Duration(1+random.IntN(1000)) * time.Millisecond}}
		l.Cost = 1 + random.IntN(4)
		l.Burst = l.Cost + random.IntN(30)
		q, b := newQuota(l), newBucket(l)
		now, arrival := int64(0), int64(0)
		for range 200 {
			now += random.Int64N(int64(l.Rate.Window) / int64(count) * 3)
			v := q.decide(arrival, now)
			want := b.take(now)
			if got := v.wait <= 0; got != want {
				t.Fatalf("%+v at %d: passes %t, the bucket says %t", l, now, got, want)
			}
			if want {
				arrival = v.next
				left, reset := q.state(v.next, now)
				if units := (b.capacity - b.level) / b.cost; left != units || reset <= 0 {
					t.Fatalf("%+v at %d: %d left, the bucket says %d; reset %d", l, now, left, units, reset)
				}
				continue
			}
			if u := q.decide(arrival, now+v.wait); u.wait > 0 || q.decide(arrival, now+v.wait-1).wait <= 0 {
				t.Fatalf("%+v at %d: a wait of %d is not the shortest that suffices", l, now, v.wait)
			}
		}
	}
}

// TestAnyWindow holds the promise a reader cares about: in any window no more pass than burst plus rate.
func TestAnyWindow(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		l := model.Limit{Rate: model.Rate{Count: 1 + random.IntN(50), Window: time.Duration(1+random.IntN(1e6)) * time.Microsecond}, Burst: 1 + random.IntN(60)}
		q := newQuota(l)
		var passed []int64
		now, arrival := int64(0), int64(0)
		for range 500 {
			now += random.Int64N(int64(l.Rate.Window)/int64(l.Rate.Count) + 1)
			if v := q.decide(arrival, now); v.wait <= 0 {
				arrival = v.next
				passed = append(passed, now)
			}
		}
		for i := range passed {
			n := 0
			for _, at := range passed[i:] {
				if at-passed[i] < int64(l.Rate.Window) {
					n++
				}
			}
			// A rate that does not divide the window is rounded by less than a request.
			if n > l.Burst+l.Rate.Count+1 {
				t.Fatalf("%+v: %d in one window", l, n)
			}
		}
	}
}
