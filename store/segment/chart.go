package segment

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"github.com/palisade-security/palisade/store/query"
)

// Chart adds the rows of a set to a chart, by a field if one is given.
func Chart(c Chunk, set *Set, by query.Field, to *query.Chart) error {
	grid := to.Grid()
	if by == query.None {
		return spans(c, set, grid, func(step, from, until int) error {
			to.Add(step, int64(set.count(from, until)))
			return nil
		})
	}
	l := &lines{set: set, at: columnOf(by), to: to}
	var err error
	if l.s, err = c.load(l.at); err != nil {
		return err
	}
	if l.s.rows != nil {
		l.counts = make([]int64, len(l.s.values))
	}
	return spans(c, set, grid, l.add)
}

// lines adds rows to a chart by their value in a column.
type lines struct {
	set    *Set
	at     int // of the column
	s      *series
	to     *query.Chart
	counts []int64  // of each value, 0 between spans
	seen   []uint32 // which of them are not 0
}

// add adds those rows of a span that are in the set.
func (l *lines) add(step, from, until int) error {
	l.to.Add(step, int64(l.set.count(from, until)))
	var err error
	if l.s.rows == nil {
		l.set.within(from, until, func(row int) {
			if err == nil {
				err = l.to.AddTo(columns[l.at].shown(l.s, row), step, 1)
			}
		})
		return err
	}
	l.set.within(from, until, func(row int) {
		v := l.s.rows[row]
		if l.counts[v] == 0 {
			l.seen = append(l.seen, v)
		}
		l.counts[v]++
	})
	for _, v := range l.seen {
		if err == nil {
			err = l.to.AddTo(query.Shown(l.s.values[v]), step, l.counts[v])
		}
		l.counts[v] = 0
	}
	l.seen = l.seen[:0]
	return err
}

// spans divides rows into spans of one step, from one row on and before another. The rows of the set lie within the grid; others
// need not.
func spans(c Chunk, set *Set, grid query.Grid, yield func(step, from, until int) error) error {
	if set.empty() {
		return nil
	}
	if first, last := c.Bounds(); oneStep(grid, first, last) {
		return yield(grid.At(first), 0, c.Rows())
	}
	if g, ok := c.(*group); ok {
		return g.spans(set, grid, yield)
	}
	times, err := c.load(timeColumn)
	if err != nil {
		return err
	}
	return cut(times.numbers[:c.Rows()], 0, grid, yield)
}

// oneStep tells whether all times from one to another are of one step of a grid.
func oneStep(g query.Grid, first, last int64) bool {
	return inGrid(g, first) && inGrid(g, last) && g.At(first) == g.At(last)
}

// inGrid tells whether a time is of a step of a grid. The first comparison keeps the difference from passing what an int64 holds.
func inGrid(g query.Grid, t int64) bool {
	return t >= g.Start && uint64(t-g.Start)/uint64(g.Step) < uint64(g.Len)
}

// cut divides times, the first of which is that of a row, into spans.
func cut(times []int64, row int, grid query.Grid, yield func(step, from, until int) error) error {
	for from := 0; from < len(times); {
		if !inGrid(grid, times[from]) {
			from++
			continue
		}
		step := grid.At(times[from])
		begin := grid.Start + int64(step)*grid.Step
		until := from + 1
		for until < len(times) && times[until] >= begin && uint64(times[until]-begin) < uint64(grid.Step) {
			until++
		}
		if err := yield(step, row+from, row+until); err != nil {
			return err
		}
		from = until
	}
	return nil
}

// spans is that of a file. Most pages lie within a step as a whole, which the page index tells; of the others the times are read.
func (g *group) spans(set *Set, grid query.Grid, yield func(step, from, until int) error) error {
	index, err := g.chunks[timeColumn].ColumnIndex()
	if err != nil {
		return g.damage(timeColumn, err)
	}
	offsets, err := g.chunks[timeColumn].OffsetIndex()
	if err != nil {
		return g.damage(timeColumn, err)
	}
	n := offsets.NumPages()
	if index.NumPages() != n {
		return g.damage(timeColumn, fmt.Errorf("bounds of %d of %d pages", index.NumPages(), n))
	}
	var split [][2]int // pages in several steps: their first row, and the one behind their last
	for i := range n {
		from, until := int(offsets.FirstRowIndex(i)), g.n
		if i+1 < n {
			until = int(offsets.FirstRowIndex(i + 1))
		}
		if from < 0 || until > g.n || from > until {
			return g.damage(timeColumn, fmt.Errorf("page %d has the rows %d to %d of %d", i, from, until, g.n))
		}
		first, last := index.MinValue(i).Int64(), index.MaxValue(i).Int64()
		switch {
		case set.count(from, until) == 0:
		case oneStep(grid, first, last):
			if err := yield(grid.At(first), from, until); err != nil {
				return err
			}
		default:
			split = append(split, [2]int{from, until})
		}
	}
	if len(split) == 0 {
		return nil
	}
	times := make([][]int64, len(split))
	err = g.read(timeColumn, func(pages parquet.Pages) (err error) {
		for i, page := range split {
			if times[i], err = timesOf(pages, page[0], page[1]); err != nil {
				return err
			}
		}
		return nil
	})
	for i, page := range split {
		if err == nil {
			err = cut(times[i], page[0], grid, yield)
		}
	}
	return err
}

// timesOf reads the times of a page.
func timesOf(pages parquet.Pages, from, until int) ([]int64, error) {
	if err := pages.SeekToRow(int64(from)); err != nil {
		return nil, err
	}
	page, err := pages.ReadPage()
	if err != nil {
		return nil, err
	}
	defer parquet.Release(page)
	r := &reader{kind: size, expect: until - from}
	if err := r.page(page); err != nil {
		return nil, err
	}
	if r.n != until-from {
		return nil, fmt.Errorf("a page of %d rows has %d", until-from, r.n)
	}
	return r.out.numbers, nil
}
