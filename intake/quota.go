package intake

import (
	"math"
	"sync"
	"time"
)

// quotaBurst is how many seconds' worth of a quota can be used at once.
const quotaBurst = 5

// quota is what one source may still send: two buckets that fill by the second. Whoever finds both with something in them may
// send once more, and what that takes may leave them owing: no message is too large to ever be sent, and the rate holds.
type quota struct {
	mu                   sync.Mutex
	at                   time.Time
	records, bytes       float64 // that may be sent now
	recordRate, byteRate float64 // by the second
}

// declare sets the rates. What was used stays used.
func (q *quota) declare(now time.Time, records, bytes float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.recordRate, q.byteRate = records, bytes
	if q.at.IsZero() {
		q.at, q.records, q.bytes = now, quotaBurst*records, quotaBurst*bytes
	}
}

// wait says how long a source must wait before it may send again; 0: not at all.
func (q *quota) wait(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fill(now)
	var seconds float64
	if q.records <= 0 {
		seconds = (1 - q.records) / q.recordRate
	}
	if q.bytes <= 0 {
		seconds = max(seconds, (1-q.bytes)/q.byteRate)
	}
	return time.Duration(math.Ceil(seconds * float64(time.Second)))
}

func (q *quota) fill(now time.Time) {
	if passed := now.Sub(q.at).Seconds(); passed > 0 {
		q.records = min(q.records+passed*q.recordRate, quotaBurst*q.recordRate)
		q.bytes = min(q.bytes+passed*q.byteRate, quotaBurst*q.byteRate)
		q.at = now
	}
}

// spend counts what was sent.
func (q *quota) spend(now time.Time, records int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fill(now)
	q.records -= float64(records)
	q.bytes -= float64(bytes)
}
