package segment

import (
	"math/bits"
	"slices"

	"github.com/palisade-security/palisade/store/query"
)

// grams is a Bloom filter over what the columns of a row group say: over each run of gramBytes bytes of their texts, folded as
// they are compared, with the column it stands in. What does not hold all runs of some words cannot say them.
type grams []byte

const (
	gramBytes  = 5 // words that are shorter are looked for everywhere
	gramMask   = 1<<(8*gramBytes) - 1
	gramsMost  = 512 << 10 // bytes of a filter
	gramsLeast = 64
)

// newGrams returns an empty filter, as large as one may be.
func newGrams() grams { return make(grams, gramsMost) }

// add adds what a text of a column says.
func (g grams) add(column int, text string) {
	eachGram(column, query.Fold(text), func(a, b uint32) bool {
		g[g.byteOf(a)] |= 1 << (a & 7)
		g[g.byteOf(b)] |= 1 << (b & 7)
		return true
	})
}

// may tells whether a column may say words, which are folded.
func (g grams) may(column int, words string) bool {
	all := true
	eachGram(column, words, func(a, b uint32) bool {
		all = g[g.byteOf(a)]&(1<<(a&7)) != 0 && g[g.byteOf(b)]&(1<<(b&7)) != 0
		return all
	})
	return all
}

// byteOf is where a bit is. The length is a power of two, so that of a filter of half the size both halves are one.
func (g grams) byteOf(bit uint32) int { return int(bit>>3) & (len(g) - 1) }

// eachGram hands out two bits for each run of bytes, until yield returns false.
func eachGram(column int, text string, yield func(a, b uint32) bool) {
	run := uint64(0)
	for i := range len(text) {
		run = (run<<8 | uint64(text[i])) & gramMask
		if i < gramBytes-1 {
			continue
		}
		// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
		h := run | uint64(column)<<(8*gramBytes)
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
		if !yield(uint32(h), uint32(h>>32)) {
			return
		}
	}
}

// folded returns the filter as small as it can be with at most half of its bits set: one in four runs that are not there seems to be.
func (g grams) folded() grams {
	for len(g) > gramsLeast {
		half, set := slices.Clone(g[:len(g)/2]), 0
		for i, b := range g[len(g)/2:] {
			half[i] |= b
			set += bits.OnesCount8(half[i])
		}
		if set > 4*len(half) {
			break
		}
		g = half
	}
	return g
}

// valid tells whether bytes can be a filter.
func (g grams) valid() bool {
	return len(g) >= gramsLeast && len(g) <= gramsMost && len(g)&(len(g)-1) == 0
}
