package events

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"sort"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// mark is a fingerprint of a key, which takes a fraction of its space and keeps nothing else in memory. Its seeds are this
// process's, so nobody can choose keys that are taken for each other; by chance two of a billion are with probability 10^-21.
type mark [2]uint64

// marker makes fingerprints.
type marker [2]maphash.Seed

func newMarker() marker { return marker{maphash.MakeSeed(), maphash.MakeSeed()} }

func (p *marker) of(e *event.Event) mark {
	var room [128]byte
	key := query.AppendKey(room[:0], e)
	return mark{maphash.Bytes(p[0], key), maphash.Bytes(p[1], key)}
}

// ofKey is of for the key of an event.
func (p *marker) ofKey(key string) mark {
	return mark{maphash.String(p[0], key), maphash.String(p[1], key)}
}

// timeline finds the segments that may have an event of a time, in order of their first times.
type timeline struct {
	all  []*sealed
	last []int64 // the latest time in each and in all before it
	away int64   // the latest time in those that are away
}

func newTimeline(all []*sealed) *timeline {
	t := &timeline{all: all, away: math.MinInt64}
	slices.SortFunc(t.all, func(a, b *sealed) int { return cmp.Compare(a.First, b.First) })
	last := int64(math.MinInt64)
	for _, one := range t.all {
		last = max(last, one.Last)
		t.last = append(t.last, last)
		if one.away {
			t.away = max(t.away, one.Last)
		}
	}
	return t
}

// between hands out the segments that have times from one to another, both included, until yield returns false.
func (t *timeline) between(from, to int64, yield func(*sealed) bool) {
	for i := sort.Search(len(t.all), func(i int) bool { return t.all[i].First > to }) - 1; i >= 0 && t.last[i] >= from; i-- {
		if t.all[i].Last >= from && !yield(t.all[i]) {
			return
		}
	}
}

// awayAt hands out the segments that are away and have times about one.
func (t *timeline) awayAt(at int64, do func(*sealed)) {
	if at > t.away { // as nearly always
		return
	}
	t.between(at, at, func(one *sealed) bool {
		if one.away {
			do(one)
		}
		return true
	})
}
