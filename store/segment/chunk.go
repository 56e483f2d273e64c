package segment

import "strings"

// Chunk is some events in columns: those of a Block, or a group of rows in a file.
type Chunk interface {
	// Rows is how many there are, numbered from 0.
	Rows() int
	// Bounds are the first and last time, nanoseconds since 1970; of no use if there are no rows.
	Bounds() (first, last int64)
	// Numbers are the lowest and the highest number that the store gave them; of no use if there are no rows.
	Numbers() (lowest, highest uint64)

	// blank tells whether no row has anything in a column: its texts are empty, its numbers 0, its lists empty.
	blank(c int) bool
	// load returns a column as a whole, pick that of some rows, in ascending order.
	load(c int) (*series, error)
	pick(c int, rows []uint32) (*series, error)
	// lacks tells whether a Bloom filter says that no row has the value.
	lacks(c int, value string) (bool, error)
	// said is a filter over what the columns say; nil: none is known.
	said() (grams, error)
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
