package segment

import (
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
)

// Batch is some events in columns, on their way into a log and into a Block. It does not change, and holds on to the texts of
// the events.
type Batch struct{ view View }

// NewBatch returns events, for which Check has nothing to say, in columns.
func NewBatch(events []*event.Event) *Batch {
	b := &Batch{View{n: len(events), columns: make([]series, len(columns))}}
	d := dictionary{}
	for i := range columns {
		c, s := &columns[i], &b.view.columns[i]
		switch {
		case c.kind == unique:
			s.values = c.each(events)
		case c.kind.isText():
			d.fill(c, s, events)
		case c.kind == list:
			durations(s, events)
		default:
			s.numbers = c.counts(events)
		}
	}
	b.view.bound()
	return b
}

// Rows is how many events there are.
func (b *Batch) Rows() int { return b.view.n }

// Keys are what query.Key says of the events.
func (b *Batch) Keys() ([]string, error) {
	rows := make([]uint32, b.view.n)
	for i := range rows {
		rows[i] = uint32(i)
	}
	return Keys(&b.view, rows)
}

// bound finds the first and last time.
func (v *View) bound() {
	times := v.columns[timeColumn].numbers
	if len(times) == 0 { // all of them are 0
		v.first, v.last = 0, 0
		return
	}
	v.first, v.last = times[0], times[0]
	for _, t := range times {
		v.first, v.last = min(v.first, t), max(v.last, t)
	}
}

// each returns the texts of a column whose texts are hardly ever the same; nil if none has any.
func (c *column) each(events []*event.Event) []string {
	var out []string
	for i, e := range events {
		v := c.text(e)
		if v == "" {
			continue
		}
		if out == nil {
			out = make([]string, len(events))
		}
		out[i] = valid(v)
	}
	return out
}

// counts returns the numbers of a column; nil if all are 0.
func (c *column) counts(events []*event.Event) []int64 {
	var out []int64
	for i, e := range events {
		v := c.num(e)
		if v == 0 {
			continue
		}
		if out == nil {
			out = make([]int64, len(events))
		}
		out[i] = v
	}
	return out
}

// durations fills the column of the times that stages took.
func durations(s *series, events []*event.Event) {
	total := 0
	for _, e := range events {
		total += len(e.Trail)
	}
	if total == 0 {
		return
	}
	s.numbers, s.ends = make([]int64, 0, total), make([]uint32, 0, len(events))
	for _, e := range events {
		for i := range e.Trail {
			s.numbers = append(s.numbers, int64(e.Trail[i].Took))
		}
		s.ends = append(s.ends, uint32(len(s.numbers)))
	}
}

// dictionary gives the texts of one column after another their places.
type dictionary struct {
	index map[string]uint32 // of the column at hand
	room  []byte            // in which texts are put together
}

// fill fills a column whose values are held once each; those of a series that has any begin with the empty one.
func (d *dictionary) fill(c *column, s *series, events []*event.Event) {
	clear(d.index)
	before, at := "", uint32(0) // most often the value is that of the event before
	for i, e := range events {
		if c.join != nil {
			if d.room = c.join(d.room[:0], e); string(d.room) != before {
				at, before = d.joined(s)
			}
		} else if v := c.text(e); v != before {
			at, before = d.place(s, v), v
		}
		if at == 0 {
			continue
		}
		if s.rows == nil {
			s.rows = make([]uint32, len(events))
		}
		s.rows[i] = at
	}
}

// joined returns the place of the text in d.room, and that text.
func (d *dictionary) joined(s *series) (uint32, string) {
	if at, ok := d.index[string(d.room)]; ok { // no copy
		return at, s.values[at]
	}
	v := string(d.room)
	return d.place(s, v), v
}

// place returns the place of v in the values of a column. Bytes that are not UTF-8 become U+FFFD, as event.AppendJSON writes
// them.
func (d *dictionary) place(s *series, v string) uint32 {
	if v == "" {
		return 0
	}
	if at, ok := d.index[v]; ok {
		return at
	}
	if d.index == nil {
		d.index = map[string]uint32{}
	}
	if s.values == nil {
		s.values = append(make([]string, 0, 8), "")
	}
	clean := valid(v)
	at, ok := d.index[clean]
	if !ok {
		at = uint32(len(s.values))
		s.values = append(s.values, clean)
		d.index[clean] = at
	}
	if v != clean {
		d.index[v] = at
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

// cloned appends copies of texts, which lie in one.
func cloned(dst, texts []string) []string {
	size := 0
	for _, v := range texts {
		size += len(v)
	}
	var room strings.Builder
	room.Grow(size)
	for _, v := range texts {
		room.WriteString(v)
	}
	rest := room.String()
	for _, v := range texts {
		dst, rest = append(dst, rest[:len(v)]), rest[len(v):]
	}
	return dst
}
