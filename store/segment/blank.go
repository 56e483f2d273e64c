package segment

// none is a column of rows that have nothing in it.
func (c *column) none(rows int) *series {
	switch {
	case c.kind == list:
		return &series{ends: make([]uint32, rows)}
	case c.kind.isText():
		return &series{values: []string{""}, rows: make([]uint32, rows)}
	}
	return &series{numbers: make([]int64, rows)}
}
