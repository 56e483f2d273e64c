package segment

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
)

// Block is events in memory, in columns, in the order they came. Its methods are not safe for concurrent use; a View of it
// is.
type Block struct {
	n           int
	bytes       int64
	first, last int64
	columns     []series
	dicts       []dict
	room        []byte // in which texts are put together
}

// dict is where a column has its values.
type dict struct {
	index  map[string]uint32
	before string // the value of the event before
	at     uint32 // where it is
	none   uint32 // where the empty text is, and one more
}

// NewBlock returns an empty block with room for some events.
func NewBlock(rows int) *Block {
	b := &Block{columns: make([]series, len(columns)), dicts: make([]dict, len(columns))}
	for i := range columns {
		s := &b.columns[i]
		switch k := columns[i].kind; {
		case k == unique:
			s.values = make([]string, 0, rows)
		case k.isText():
			b.dicts[i].index = map[string]uint32{}
			s.rows = make([]uint32, 0, rows)
		case k == list:
			s.ends = make([]uint32, 0, rows)
		default:
			s.numbers = make([]int64, 0, rows)
		}
	}
	return b
}

// Rows is how many events there are.
func (b *Block) Rows() int { return b.n }

// Bytes is about how much memory they take.
func (b *Block) Bytes() int64 { return b.bytes }

// Append adds an event, which has a number in the store, greater than that of the one before. It fails for one whose time
// cannot be said in nanoseconds, before 1678 or after 2261.
func (b *Block) Append(e *event.Event, number uint64) error {
	if y := e.Time.UTC().Year(); y < 1678 || y > 2261 {
		return fmt.Errorf("taking event %q: its time, %s, is out of range", e.ID, e.Time.Format(time.RFC3339))
	}
	for i := range columns {
		c, s := &columns[i], &b.columns[i]
		switch {
		case c.kind == unique:
			v := strings.Clone(valid(c.text(e)))
			s.values = append(s.values, v)
			b.bytes += int64(len(v)) + 16
		case c.join != nil:
			b.room = c.join(b.room[:0], e)
			s.rows = append(s.rows, b.joined(i))
			b.bytes += 4
		case c.kind.isText():
			s.rows = append(s.rows, b.value(i, c.text(e)))
			b.bytes += 4
		case c.kind == list:
			for j := range e.Trail {
				s.numbers = append(s.numbers, int64(e.Trail[j].Took))
			}
			s.ends = append(s.ends, uint32(len(s.numbers)))
			b.bytes += int64(8*len(e.Trail)) + 4
		default:
			s.numbers = append(s.numbers, c.num(e))
			b.bytes += 8
		}
	}
	b.columns[numberColumn].numbers[b.n] = int64(number)
	at := e.Time.UnixNano()
	if b.n == 0 {
		b.first, b.last = at, at
	}
	b.first, b.last = min(b.first, at), max(b.last, at)
	b.n++
	return nil
}

// value returns the place of v in the values of a column. Most often it is that of the event before, or empty.
func (b *Block) value(i int, v string) uint32 {
	d := &b.dicts[i]
	switch {
	case v == "" && d.none > 0:
		return d.none - 1
	case v == d.before && d.before != "":
		return d.at
	}
	at, ok := d.index[v]
	if !ok {
		at = b.enter(i, v)
	}
	if v == "" {
		d.none = at + 1
	} else {
		d.before, d.at = b.columns[i].values[at], at
	}
	return at
}

// joined is value for the text in b.room.
func (b *Block) joined(i int) uint32 {
	if at, ok := b.dicts[i].index[string(b.room)]; ok { // no copy
		return at
	}
	return b.enter(i, string(b.room))
}

// enter adds a value to a column. Bytes that are not UTF-8 become U+FFFD, as event.AppendJSON writes them.
func (b *Block) enter(i int, v string) uint32 {
	v = strings.Clone(v) // it may be part of something larger
	d := &b.dicts[i]
	clean := valid(v)
	at, ok := d.index[clean]
	if !ok {
		at = uint32(len(b.columns[i].values))
		b.columns[i].values = append(b.columns[i].values, clean)
		d.index[clean] = at
		b.bytes += int64(len(clean)) + 64
	}
	if v != clean {
		d.index[v] = at
		b.bytes += int64(len(v)) + 64
	}
	return at
}

// valid writes U+FFFD for each byte that is not UTF-8, as event.AppendJSON does.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
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

func (v *View) blank(c int) bool {
	s := &v.columns[c]
	return s.rows != nil && len(s.values) == 1 && s.values[0] == ""
}

func (v *View) load(c int) (*series, error) { return &v.columns[c], nil }

func (v *View) pick(c int, rows []uint32) (*series, error) {
	out := &series{}
	v.columns[c].pick(out, columns[c].kind, rows)
	return out, nil
}

func (v *View) lacks(int, string) (bool, error) { return false, nil }
