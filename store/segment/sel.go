package segment

import (
	"cmp"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/store/query"
)

// Select returns the rows of a chunk that a query means.
func Select(c Chunk, q *query.Query) (*Set, error) {
	from, to := q.Bounds()
	first, last := c.Bounds()
	if c.Rows() == 0 || last < from || first >= to {
		return newSet(c.Rows()), nil
	}
	s := &selection{chunk: c, n: c.Rows()}
	out := fullSet(s.n)
	if first < from || last >= to {
		var err error
		if out, err = s.numbers(timeColumn, func(t int64) bool { return t >= from && t < to }); err != nil {
			return nil, err
		}
	}
	if q.Where == nil || out.empty() {
		return out, nil
	}
	set, err := s.eval(q.Where)
	if err != nil {
		return nil, err
	}
	out.and(set)
	return out, nil
}

// selection evaluates a tree on a chunk.
type selection struct {
	chunk Chunk
	n     int
}

func (s *selection) eval(x query.Expr) (*Set, error) {
	switch x := x.(type) {
	case query.And:
		return s.all(x)
	case query.Or:
		out := newSet(s.n)
		for _, p := range x {
			set, err := s.eval(p)
			if err != nil {
				return nil, err
			}
			out.or(set)
		}
		return out, nil
	case query.Not:
		set, err := s.eval(x.Of)
		if err == nil {
			set.flip()
		}
		return set, err
	case query.Is:
		c := columnOf(x.Field)
		if columns[c].filter && !strings.Contains(x.Value, "\uFFFD") { // which stands for others, too
			if lacks, err := s.chunk.lacks(c, x.Value); err != nil || lacks {
				return newSet(s.n), err
			}
		}
		return s.texts(c, x.Match)
	case query.Prefix:
		return s.texts(columnOf(x.Field), x.Match)
	case query.Number:
		return s.numbers(columnOf(x.Field), x.Match)
	case query.Text:
		return s.says(x)
	}
	return newSet(s.n), nil
}

// all evaluates the cheap parts first, and no more once nothing is left.
func (s *selection) all(parts query.And) (*Set, error) {
	out := fullSet(s.n)
	for _, p := range slices.SortedStableFunc(slices.Values(parts), func(a, b query.Expr) int { return cmp.Compare(cost(a), cost(b)) }) {
		set, err := s.eval(p)
		if err != nil {
			return nil, err
		}
		if out.and(set); out.empty() {
			break
		}
	}
	return out, nil
}

// cost orders terms by what they read.
func cost(x query.Expr) int {
	switch x := x.(type) {
	case query.Is:
		if c := columns[columnOf(x.Field)]; c.filter {
			return 0
		} else if c.kind == named {
			return 1
		}
		return 3
	case query.Prefix:
		if columns[columnOf(x.Field)].kind == named {
			return 1
		}
		return 3
	case query.Number:
		return 2
	case query.Text:
		return 9
	default:
		return 5
	}
}

// columnOf is where a field stands.
func columnOf(f query.Field) int {
	return slices.IndexFunc(columns, func(c column) bool { return c.field == f })
}

// texts returns the rows whose value meets a condition, which is asked once for each different value.
func (s *selection) texts(c int, match func(string) bool) (*Set, error) {
	if s.chunk.blank(c) {
		return s.each(match(""))
	}
	col, err := s.chunk.load(c)
	if err != nil {
		return nil, err
	}
	out := newSet(s.n)
	if col.rows == nil {
		for i, v := range col.values[:s.n] {
			if match(v) {
				out.add(i)
			}
		}
		return out, nil
	}
	hit := make([]bool, len(col.values))
	hits := 0
	for i, v := range col.values {
		if match(v) {
			hit[i] = true
			hits++
		}
	}
	switch hits {
	case 0:
	case len(hit):
		out.flip()
	default:
		for i, v := range col.rows[:s.n] {
			if hit[v] {
				out.add(i)
			}
		}
	}
	return out, nil
}

// each returns all rows or none.
func (s *selection) each(all bool) (*Set, error) {
	if all {
		return fullSet(s.n), nil
	}
	return newSet(s.n), nil
}

func (s *selection) numbers(c int, match func(int64) bool) (*Set, error) {
	if s.chunk.blank(c) {
		return s.each(match(0))
	}
	col, err := s.chunk.load(c)
	if err != nil {
		return nil, err
	}
	out := newSet(s.n)
	for i, v := range col.numbers[:s.n] {
		if match(v) {
			out.add(i)
		}
	}
	return out, nil
}

// says returns the rows that say the words anywhere.
func (s *selection) says(x query.Text) (*Set, error) {
	f := x.Finder()
	out := newSet(s.n)
	said, err := s.chunk.said()
	if err != nil {
		return nil, err
	}
	for c := range columns {
		w := columns[c].words
		if w == silent || said != nil && !said.may(c, f.Folded()) {
			continue
		}
		set, err := s.texts(c, func(v string) bool { return w.in(f, v) })
		if err != nil {
			return nil, err
		}
		out.or(set)
	}
	return out, nil
}
