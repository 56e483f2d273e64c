package segment

import (
	"math"
	"math/bits"
)

// Set is a set of rows of a chunk.
type Set struct {
	words []uint64
	n     int // rows of the chunk
}

func newSet(n int) *Set { return &Set{words: make([]uint64, (n+63)/64), n: n} }

func fullSet(n int) *Set {
	s := newSet(n)
	s.flip()
	return s
}

func (s *Set) add(row int) { s.words[row>>6] |= 1 << (row & 63) }

// Has tells whether a row is in the set.
func (s *Set) Has(row int) bool { return s.words[row>>6]&(1<<(row&63)) != 0 }

func (s *Set) flip() {
	for i := range s.words {
		s.words[i] = ^s.words[i]
	}
	if rest := s.n & 63; rest != 0 {
		s.words[len(s.words)-1] &= 1<<rest - 1
	}
}

func (s *Set) and(o *Set) {
	for i := range s.words {
		s.words[i] &= o.words[i]
	}
}

func (s *Set) or(o *Set) {
	for i := range s.words {
		s.words[i] |= o.words[i]
	}
}

// Len is how many rows are in the set.
func (s *Set) Len() int { return s.count(0, s.n) }

func (s *Set) empty() bool {
	for _, w := range s.words {
		if w != 0 {
			return false
		}
	}
	return true
}

// count is how many rows from one on and before another are in the set.
func (s *Set) count(from, to int) int {
	n := 0
	for from < to {
		w := s.words[from>>6] >> (from & 63)
		width := min(64-from&63, to-from)
		if width < 64 {
			w &= 1<<width - 1
		}
		n += bits.OnesCount64(w)
		from += width
	}
	return n
}

// each hands out the rows of the set in order.
func (s *Set) each(yield func(row int)) { s.within(0, s.n, yield) }

// within hands out the rows of the set from one on and before another, in order.
func (s *Set) within(from, to int, yield func(row int)) {
	if from >= to {
		return
	}
	for i := from >> 6; i <= (to-1)>>6; i++ {
		w := s.words[i]
		if i == from>>6 {
			w &= math.MaxUint64 << (from & 63)
		}
		if rest := to - i<<6; rest < 64 {
			w &= 1<<rest - 1
		}
		for ; w != 0; w &= w - 1 {
			yield(i<<6 + bits.TrailingZeros64(w))
		}
	}
}

// Rows returns the rows of the set in order.
func (s *Set) Rows() []uint32 {
	out := make([]uint32, 0, s.Len())
	s.each(func(row int) { out = append(out, uint32(row)) })
	return out
}
