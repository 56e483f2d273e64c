package segment

import (
	"fmt"
	"slices"
	"sort"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Check reports why an event cannot be kept: without an id it could not be told apart, and its time must be between 1678 and
// 2261, which nanoseconds can say.
func Check(e *event.Event) error {
	if e.ID == "" {
		return fmt.Errorf("taking event of %s: it has no id", e.Time)
	}
	if y := e.Time.UTC().Year(); y < 1678 || y > 2261 {
		return fmt.Errorf("taking event %q: its time is in the year %d", e.ID, y)
	}
	return nil
}

// Classes divides rows by the class of their events, in their order.
func Classes(from []Chunk, rows []Row) (map[string][]Row, error) {
	out := map[string][]Row{}
	classes := make([]*series, len(from))
	for i, c := range from {
		s, err := c.load(classColumn)
		if err != nil {
			return nil, err
		}
		classes[i] = s
	}
	for _, r := range rows {
		class := classes[r.Chunk].text(int(r.Row))
		out[class] = append(out[class], r)
	}
	return out, nil
}

// Times returns the times of some rows, in ascending order of the rows.
func Times(c Chunk, set *Set) ([]int64, error) {
	times, err := c.load(timeColumn)
	if err != nil {
		return nil, err
	}
	out := make([]int64, 0, set.Len())
	set.each(func(row int) { out = append(out, times.numbers[row]) })
	return out, nil
}

// NumbersOf returns the numbers that the store gave the events of a chunk, row by row. They ascend in a View.
func NumbersOf(c Chunk) ([]int64, error) {
	s, err := c.load(numberColumn)
	if err != nil {
		return nil, err
	}
	return s.numbers[:c.Rows()], nil
}

// Count adds the rows of a set to a tally by a field.
func Count(c Chunk, set *Set, by query.Field, t *query.Tally) error {
	at := columnOf(by)
	s, err := c.load(at)
	if err != nil {
		return err
	}
	if s.rows == nil {
		set.each(func(row int) {
			if err == nil {
				err = t.Add(columns[at].shown(s, row), 1)
			}
		})
		return err
	}
	counts := make([]int64, len(s.values))
	set.each(func(row int) { counts[s.rows[row]]++ })
	for i, n := range counts {
		if n > 0 {
			if err := t.Add(query.Shown(s.values[i]), n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Holds tells whether a segment has an event: one of its time and of its key (query.Key).
func (s *Segment) Holds(e *event.Event) (bool, error) {
	at, key := e.Time.UnixNano(), query.Key(e)
	for _, g := range s.groups {
		if at < g.first || at > g.last {
			continue
		}
		if lacks, err := g.lacks(idColumn, e.ID); err != nil || lacks {
			if err != nil {
				return false, err
			}
			continue
		}
		times, err := g.load(timeColumn)
		if err != nil {
			return false, err
		}
		from := sort.Search(g.n, func(i int) bool { return times.numbers[i] >= at })
		var rows []uint32
		for i := from; i < g.n && times.numbers[i] == at; i++ {
			rows = append(rows, uint32(i))
		}
		keys, err := Keys(g, rows)
		if err != nil {
			return false, err
		}
		if slices.Contains(keys, key) {
			return true, nil
		}
	}
	return false, nil
}

// May tells whether a query can mean an event of a segment, from what is known without reading it.
func (n *Info) May(q *query.Query) bool {
	from, to := q.Bounds()
	return n.Last >= from && n.First < to && (q.Where == nil || n.may(q.Where))
}

func (n *Info) may(x query.Expr) bool {
	switch x := x.(type) {
	case query.And:
		return !slices.ContainsFunc(x, func(p query.Expr) bool { return !n.may(p) })
	case query.Or:
		return slices.ContainsFunc(x, n.may)
	case query.Is:
		return n.any(x.Field, x.Match)
	case query.Prefix:
		return n.any(x.Field, x.Match)
	default:
		return true
	}
}

// any tells whether a value of a field may meet a condition.
func (n *Info) any(f query.Field, match func(string) bool) bool {
	values := n.Values[f.String()]
	if values == nil {
		return true
	}
	for v := range values {
		if match(v) {
			return true
		}
	}
	return false
}

// Tally adds all events of a segment by a field without reading it. It reports false if that is not known.
func (n *Info) Tally(by query.Field, t *query.Tally) (bool, error) {
	values := n.Values[by.String()]
	if values == nil {
		return false, nil
	}
	for v, count := range values {
		if err := t.Add(v, count); err != nil {
			return true, err
		}
	}
	return true, nil
}
