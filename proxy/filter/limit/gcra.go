package limit

import (
	"math/bits"
	"time"

	"github.com/palisade-security/palisade/model"
)

// longest bounds every span the arithmetic below adds up, so that no declared limit can overflow it: about
// 18 years in nanoseconds.
const longest = int64(1) << 59

// quota is a limit in the terms of the generic cell rate algorithm (ITU-T I.371, annex A; the virtual
// scheduling form). Spans are nanoseconds.
type quota struct {
	cost      int64 // what one request adds to the theoretical arrival time
	tolerance int64 // how far that time may run ahead of the clock
}

// newQuota turns a declared limit into spans. A cost above the burst could never pass, so the burst is at
// least one request. A rate that is not positive admits nothing.
func newQuota(l model.Limit) quota {
	if l.Rate.Count <= 0 || l.Rate.Window <= 0 {
		return quota{cost: 1, tolerance: 0}
	}
	count := uint64(l.Rate.Count)
	cost := uint64(max(l.Cost, 1))
	burst := max(uint64(max(l.Burst, 0)), cost)
	if l.Burst <= 0 {
		burst = max(count, cost)
	}
	return quota{
		cost:      span(cost, l.Rate.Window, count),
		tolerance: max(span(burst, l.Rate.Window, count), int64(min(burst, uint64(longest)))),
	}
}

// span returns units*window/count nanoseconds, at least 1 and at most longest.
func span(units uint64, window time.Duration, count uint64) int64 {
	hi, lo := bits.Mul64(units, uint64(max(window, 0)))
	if hi >= count {
		return longest
	}
	v, _ := bits.Div64(hi, lo, count)
	return int64(min(max(v, 1), uint64(longest)))
}

// verdict is what one limit says about one request. Spans are nanoseconds.
type verdict struct {
	next int64 // theoretical arrival time if the request passes
	wait int64 // how long until it would pass; not positive: it passes now
}

// decide judges one request at now against the theoretical arrival time of its key. It changes nothing.
func (q quota) decide(arrival, now int64) verdict {
	next := max(arrival, now) + q.cost
	return verdict{next: next, wait: next - q.tolerance - now}
}

// state tells how many more requests of this cost would pass at now when the arrival time is next, and the
// nanoseconds until the quota is whole again, or, when none is left, until the next one would pass.
func (q quota) state(next, now int64) (remaining, reset int64) {
	debt := next - now
	if remaining = (q.tolerance - debt) / q.cost; remaining > 0 {
		return remaining, debt
	}
	return 0, debt + q.cost - q.tolerance
}
