package segment

import "github.com/parquet-go/parquet-go"

// none is a column of rows that have nothing in it.
func (c *column) none(rows int) *series {
	s := &series{}
	s.begin(c.kind, rows, rows)
	return s
}

// blank tells of a column in memory that it has not come into being: its rows have nothing in it.
func (s *series) blank() bool {
	return s.values == nil && s.rows == nil && s.numbers == nil && s.ends == nil
}

// begin has a column come into being, for rows that have nothing in it, with room for some in all.
func (s *series) begin(k kind, rows, room int) {
	switch {
	case k == unique:
		s.values = make([]string, rows, room)
	case k.isText():
		s.values, s.rows = []string{""}, make([]uint32, rows, room)
	case k == list:
		s.ends = make([]uint32, rows, room)
	default:
		s.numbers = make([]int64, rows, room)
	}
}

// none adds rows that have nothing in a column, if that has come into being.
func (s *series) none(k kind, rows int) {
	switch {
	case s.blank():
	case k == unique:
		s.values = append(s.values, make([]string, rows)...)
	case k.isText():
		s.rows = append(s.rows, make([]uint32, rows)...)
	case k == list:
		for range rows {
			s.ends = append(s.ends, uint32(len(s.numbers)))
		}
	default:
		s.numbers = append(s.numbers, make([]int64, rows)...)
	}
}

// blanks returns what appends the values of a row that has nothing in the column numbered at.
func (c *column) blanks(at int) func([]parquet.Value, Row) []parquet.Value {
	var v parquet.Value
	switch {
	case c.kind == list:
		v = parquet.NullValue().Level(0, 0, at)
	case c.kind.isText():
		v = textValue("")
	case c.kind == flag:
		v = parquet.BooleanValue(false)
	default:
		v = parquet.Int64Value(0)
	}
	return func(dst []parquet.Value, _ Row) []parquet.Value { return append(dst, v) }
}
