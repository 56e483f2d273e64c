package segment

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
)

// Chunk is some events in columns: those of a Block, or a group of rows in a file.
type Chunk interface {
	// Rows is how many there are, numbered from 0.
	Rows() int
	// Bounds are the first and last time, nanoseconds since 1970; of no use if there are no rows.
	Bounds() (first, last int64)
	// Numbers are the lowest and the highest number that the store gave them; of no use if there are no rows.
	Numbers() (lowest, highest uint64)

	// load returns a column as a whole, pick that of some rows, in ascending order.
	load(c int) (*series, error)
	pick(c int, rows []uint32) (*series, error)
	// lacks tells whether a Bloom filter says that no row has the value.
	lacks(c int, value string) (bool, error)
}

// series is a column in memory.
type series struct {
	values  []string // of the rows; or those that rows points at
	rows    []uint32 // which value each row has; nil: its own
	numbers []int64  // of the rows; of all lists one behind the other
	ends    []uint32 // of lists: where those of each row end
}

func (s *series) text(row int) string {
	if s.rows != nil {
		row = int(s.rows[row])
	}
	return s.values[row]
}

func (s *series) list(row int) []int64 {
	from := uint32(0)
	if row > 0 {
		from = s.ends[row-1]
	}
	return s.numbers[from:s.ends[row]]
}

// pick appends rows of a column to another. Texts are copied: they may be part of something larger.
func (s *series) pick(out *series, k kind, rows []uint32) {
	for _, r := range rows {
		switch {
		case k == list:
			out.numbers = append(out.numbers, s.list(int(r))...)
			out.ends = append(out.ends, uint32(len(out.numbers)))
		case k.isText():
			out.values = append(out.values, strings.Clone(s.text(int(r))))
		default:
			out.numbers = append(out.numbers, s.numbers[r])
		}
	}
}

func (k kind) isText() bool { return k <= unique }

// Block is events in memory, in columns, in the order they came. Its methods are not safe for concurrent use; a View of it
// is.
type Block struct {
	n           int
	bytes       int64
	first, last int64
	columns     []series
	index       []map[string]uint32 // where a column has a value
}

// NewBlock returns an empty block.
func NewBlock() *Block {
	b := &Block{columns: make([]series, len(columns)), index: make([]map[string]uint32, len(columns))}
	for i := range columns {
		if k := columns[i].kind; k.isText() && k != unique {
			b.index[i] = map[string]uint32{}
			b.columns[i].rows = []uint32{}
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
		case c.kind.isText():
			s.rows = append(s.rows, b.value(i, valid(c.text(e))))
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
	b.columns[numberColumn].numbers[b.n] = int64(number) //nolint:gosec // counted from 1
	at := e.Time.UnixNano()
	if b.n == 0 {
		b.first, b.last = at, at
	}
	b.first, b.last = min(b.first, at), max(b.last, at)
	b.n++
	return nil
}

// value returns the place of v in the dictionary of a column.
func (b *Block) value(i int, v string) uint32 {
	at, ok := b.index[i][v]
	if !ok {
		v = strings.Clone(v) // it may be part of something larger
		at = uint32(len(b.columns[i].values))
		b.columns[i].values = append(b.columns[i].values, v)
		b.index[i][v] = at
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
	v := &View{n: b.n, first: b.first, last: b.last, columns: slices.Clone(b.columns)}
	return v
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
	return uint64(all[0]), uint64(all[v.n-1]) //nolint:gosec // counted from 1
}

func (v *View) load(c int) (*series, error) { return &v.columns[c], nil } //nolint:unparam // a Chunk in a file can fail

func (v *View) pick(c int, rows []uint32) (*series, error) { //nolint:unparam // a Chunk in a file can fail
	out := &series{}
	v.columns[c].pick(out, columns[c].kind, rows)
	return out, nil
}

func (v *View) lacks(int, string) (bool, error) { return false, nil }
