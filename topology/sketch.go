package topology

import (
	"math"
	"slices"
	"time"
)

// Sketch is a histogram of durations in buckets that grow by a fixed factor, so that each quantile is known to about
// five percent, whatever was observed (as DDSketch: Masson, Rim, Lee, VLDB 2019). It takes a few hundred bytes.
type Sketch struct {
	First  int     `json:"first,omitempty"` // index of the first bucket
	Counts []int64 `json:"counts,omitempty"`
}

const (
	sketchFactor  = 1.1
	sketchBuckets = 256 // from one microsecond to ten hours
)

// Add counts one duration.
func (s *Sketch) Add(d time.Duration) {
	bucket := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		bucket = min(int(math.Ceil(math.Log(us)/math.Log(sketchFactor))), sketchBuckets-1)
	}
	if len(s.Counts) == 0 {
		s.First, s.Counts = bucket, []int64{0}
	}
	if bucket < s.First {
		s.Counts = slices.Insert(s.Counts, 0, make([]int64, s.First-bucket)...)
		s.First = bucket
	}
	if n := bucket - s.First; n >= len(s.Counts) {
		s.Counts = append(s.Counts, make([]int64, n+1-len(s.Counts))...)
	}
	s.Counts[bucket-s.First]++
}

// Quantile returns the duration that a share q (0 to 1) of those counted did not exceed; zero if there are none.
func (s *Sketch) Quantile(q float64) time.Duration {
	total := int64(0)
	for _, n := range s.Counts {
		total += n
	}
	rank := int64(math.Ceil(q * float64(total)))
	for i, n := range s.Counts {
		if rank -= n; rank <= 0 {
			// The middle of the bucket, as its factor sees it.
			return time.Duration(math.Pow(sketchFactor, float64(s.First+i)-0.5) * float64(time.Microsecond))
		}
	}
	return 0
}

// IsZero tells whether nothing was counted.
func (s *Sketch) IsZero() bool { return len(s.Counts) == 0 }

// sound tells whether the sketch is one that Add could have made.
func (s *Sketch) sound() bool {
	return s.First >= 0 && s.First+len(s.Counts) <= sketchBuckets && !slices.ContainsFunc(s.Counts, func(n int64) bool { return n < 0 })
}

// plus returns a sketch of what both counted.
func (s *Sketch) plus(o Sketch) Sketch {
	if s.IsZero() || o.IsZero() {
		return Sketch{First: s.First + o.First, Counts: append(slices.Clone(s.Counts), o.Counts...)}
	}
	out := Sketch{First: min(s.First, o.First)}
	out.Counts = make([]int64, max(s.First+len(s.Counts), o.First+len(o.Counts))-out.First)
	for _, part := range []*Sketch{s, &o} {
		for i, n := range part.Counts {
			out.Counts[part.First+i-out.First] += n
		}
	}
	return out
}
