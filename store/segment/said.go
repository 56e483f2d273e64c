package segment

import (
	"errors"

	"github.com/parquet-go/parquet-go"
)

// hear adds what a column says to the filter of the row group: each value that its rows have.
func (g *gather) hear(c int, sources []*series) {
	w := columns[c].words
	add := func(text string) { g.said.add(c, text) }
	heard := make([][]bool, len(sources)) // which values of those with dictionaries
	for i, s := range sources {
		if s != nil && s.rows != nil {
			heard[i] = make([]bool, len(s.values))
		}
	}
	before := ""
	for _, r := range g.rows {
		s := sources[r.Chunk]
		if s.rows != nil {
			at := s.rows[r.Row]
			if heard[r.Chunk][at] {
				continue
			}
			heard[r.Chunk][at] = true
		}
		if v := s.text(int(r.Row)); v != before {
			w.hear(v, add)
			before = v
		}
	}
}

// filter returns what appends the filter of the row group in its first row, and nothing in the others.
func (g *gather) filter() func([]parquet.Value, Row) []parquet.Value {
	first := g.rows[0]
	all := g.said.folded()
	return func(dst []parquet.Value, r Row) []parquet.Value {
		if r == first {
			return append(dst, parquet.ByteArrayValue(all).Level(0, 1, saidColumn))
		}
		return append(dst, parquet.NullValue().Level(0, 0, saidColumn))
	}
}

// said reads the filter of the row group.
func (g *group) said() (out grams, err error) {
	err = g.read(saidColumn, func(pages parquet.Pages) error {
		page, err := pages.ReadPage()
		if err != nil {
			return err
		}
		defer parquet.Release(page)
		data := page.Data()
		if all, _ := data.ByteArray(); grams(all).valid() {
			out = append(out, all...)
			return nil
		}
		return errors.New("it is no filter")
	})
	return out, err
}
