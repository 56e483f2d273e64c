package segment

import (
	"slices"
	"strings"
)

// Block is events in memory, in columns, in the order they came. A column comes into being with the first event that has
// something in it. The methods are not safe for concurrent use; a View is.
type Block struct {
	n           int
	room        int // for so many events when a column comes into being
	bytes       int64
	first, last int64
	columns     []series
	index       []map[string]uint32 // of columns whose values are held once each: where a value is
	places      []uint32            // of the values of a batch
}

// NewBlock returns an empty block with room for some events.
func NewBlock(rows int) *Block {
	return &Block{room: rows, columns: make([]series, len(columns)), index: make([]map[string]uint32, len(columns))}
}

// Rows is how many events there are.
func (b *Block) Rows() int { return b.n }

// Bytes is about how much memory they take.
func (b *Block) Bytes() int64 { return b.bytes }

// Append adds events, which have numbers in the store, one after another from one on that is greater than all before.
func (b *Block) Append(batch *Batch, number uint64) {
	v := &batch.view
	if v.n == 0 {
		return
	}
	for i := range columns {
		from, to := &v.columns[i], &b.columns[i]
		if from.blank() && i != numberColumn {
			to.none(columns[i].kind, v.n)
			continue
		}
		if to.blank() {
			to.begin(columns[i].kind, b.n, max(b.room, b.n+v.n))
		}
		b.join(i, to, from)
	}
	numbers := &b.columns[numberColumn]
	for i := range v.n {
		numbers.numbers = append(numbers.numbers, int64(number)+int64(i))
	}
	if b.n == 0 {
		b.first, b.last = v.first, v.last
	}
	b.first, b.last = min(b.first, v.first), max(b.last, v.last)
	b.n += v.n
	b.bytes += 8 * int64(v.n)
}

// join adds a column of a batch.
func (b *Block) join(i int, to, from *series) {
	switch k := columns[i].kind; {
	case k == unique:
		to.values = cloned(to.values, from.values) // they may be parts of something larger
		for _, v := range from.values {
			b.bytes += int64(len(v)) + 16
		}
	case k.isText():
		b.places = b.places[:0]
		for _, v := range from.values {
			b.places = append(b.places, b.place(i, v))
		}
		to.rows = slices.Grow(to.rows, len(from.rows))
		for _, at := range from.rows {
			to.rows = append(to.rows, b.places[at])
		}
		b.bytes += 4 * int64(len(from.rows))
	case k == list:
		before := uint32(len(to.numbers))
		to.numbers = append(to.numbers, from.numbers...)
		for _, end := range from.ends {
			to.ends = append(to.ends, before+end)
		}
		b.bytes += 8*int64(len(from.numbers)) + 4*int64(len(from.ends))
	default:
		to.numbers = append(to.numbers, from.numbers...)
		b.bytes += 8 * int64(len(from.numbers))
	}
}

// place returns where a column has a value.
func (b *Block) place(i int, v string) uint32 {
	if v == "" {
		return 0
	}
	if at, ok := b.index[i][v]; ok {
		return at
	}
	if b.index[i] == nil {
		b.index[i] = map[string]uint32{}
	}
	v = strings.Clone(v) // it may be part of something larger
	s := &b.columns[i]
	at := uint32(len(s.values))
	s.values = append(s.values, v)
	b.index[i][v] = at
	b.bytes += int64(len(v)) + 64
	return at
}

// View is what a block holds at a time. It stays as it is while the block grows.
func (b *Block) View() *View {
	return &View{n: b.n, first: b.first, last: b.last, columns: slices.Clone(b.columns)}
}

// View is a Chunk in memory.
type View struct {
	n           int
	first, last int64
	columns     []series
}

// Rows is how many events there are.
func (v *View) Rows() int { return v.n }

// Bounds are the first and last time.
func (v *View) Bounds() (first, last int64) { return v.first, v.last }

// Numbers are the lowest and the highest number.
func (v *View) Numbers() (lowest, highest uint64) {
	if v.n == 0 {
		return 0, 0
	}
	all := v.columns[numberColumn].numbers
	return uint64(all[0]), uint64(all[v.n-1])
}

func (v *View) blank(c int) bool { return v.columns[c].blank() }

func (v *View) load(c int) (*series, error) {
	if v.blank(c) {
		return columns[c].none(v.n), nil
	}
	return &v.columns[c], nil
}

func (v *View) pick(c int, rows []uint32) (*series, error) {
	if v.blank(c) {
		return columns[c].none(len(rows)), nil
	}
	out := &series{}
	v.columns[c].pick(out, columns[c].kind, rows)
	return out, nil
}

func (v *View) lacks(int, string) (bool, error) { return false, nil }

func (v *View) said() (grams, error) { return nil, nil }
