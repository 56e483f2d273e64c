package query

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Cursor is a place between two events in the order of answers, newest first. The zero Cursor is before the newest.
type Cursor struct {
	Time int64  // nanoseconds since 1970
	Key  string // of the event before the place
}

// Key tells events apart: by the id, by whether the event was written before forwarding, and by who recorded it. The last keeps a sidecar from
// delivering a record under an id that an edge gave, which would make the edge's own a repetition that is left out.
func Key(e *event.Event) string { return string(AppendKey(nil, e)) }

// AppendKey appends Key. Whose it is stands last, where no id can reach: names of services have no @.
func AppendKey(dst []byte, e *event.Event) []byte {
	dst = append(dst, e.ID...)
	if e.Open {
		dst = append(dst, ":open"...)
	}
	dst = append(dst, '@')
	return append(dst, e.By()...)
}

// IsZero tells whether c is before the newest event.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Compare orders events newest first; of one time those with greater keys first. It is negative if c comes before d.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(d.Time, c.Time), cmp.Compare(d.Key, c.Key))
}

// CursorOf is the place behind e.
func CursorOf(e *event.Event) Cursor { return Cursor{NumberOf(e, Time), Key(e)} }

// Record is an event as a store keeps it.
type Record struct {
	Number uint64 // from 1 on, without gaps, in the order in which the store took events
	Time   time.Time

	text  []byte       // nil: not written yet
	event *event.Event // nil: not read yet
}

// RecordOf is the record of an event.
func RecordOf(number uint64, e *event.Event) Record {
	return Record{Number: number, Time: e.Time, event: e}
}

// RecordText is the record of what event.AppendJSON wrote.
func RecordText(number uint64, at time.Time, text []byte) Record {
	return Record{Number: number, Time: at, text: text}
}

// JSON returns the record as event.AppendJSON wrote it.
func (r *Record) JSON() []byte {
	if r.text == nil {
		r.text = event.AppendJSON(nil, r.event)
	}
	return r.text
}

// Event returns the event.
func (r *Record) Event() (*event.Event, error) {
	if r.event != nil {
		return r.event, nil
	}
	e, err := event.Parse(r.text)
	if err != nil {
		return nil, fmt.Errorf("reading record %d: %w", r.Number, err)
	}
	r.event = e
	return e, nil
}

// Page is a part of the events that are meant, newest first.
type Page struct {
	Events []*event.Event
	Next   Cursor // where the next page begins; zero if there is none
}

// Count is how many events have a value.
type Count struct {
	Value string
	Count int64
}

// Counts is how many events there are of each value, most first, then by value.
type Counts struct {
	Total  int64
	Values int // how many different values there are
	Top    []Count
}

// Series is how many events there are over time.
type Series struct {
	From time.Time     // where the first step begins: a multiple of Step since 1970
	Step time.Duration // of each count
	All  []int64       // for each step
	By   []Line        // for the most frequent values of the field, if one was asked for, most first
}

// Line is the counts of one value.
type Line struct {
	Value  string
	Counts []int64
}

// CheckLast refuses pages of an impossible size.
func CheckLast(n int) error {
	if n < 1 || n > MaxLast {
		return fmt.Errorf("checking query: %d events were asked for, of 1 to %d", n, MaxLast)
	}
	return nil
}

// CheckCount refuses to count by fields that do not tell groups apart.
func CheckCount(by Field, top int) error {
	if !by.Countable() {
		return fmt.Errorf("checking query: events cannot be counted by %s", cmp.Or(by.String(), "no field"))
	}
	if top < 1 || top > MaxTop {
		return fmt.Errorf("checking query: %d values were asked for, of 1 to %d", top, MaxTop)
	}
	return nil
}

// Grid is the steps of a histogram.
type Grid struct {
	Start, Step int64 // nanoseconds
	Len         int
}

// NewGrid divides the time of q, which must be bounded, into steps that begin at multiples of step since 1970.
func NewGrid(q *Query, step time.Duration) (Grid, error) {
	from, to := q.Bounds()
	if from == minTime || to == maxTime {
		return Grid{}, errors.New("checking query: counting over time needs a first and a last time between 1678 and 2261")
	}
	if step <= 0 {
		return Grid{}, fmt.Errorf("checking query: a step of %s", step)
	}
	g := Grid{Step: int64(step)}
	g.Start = from - mod(from, g.Step)
	if to <= from {
		return g, nil
	}
	n := uint64(to-1-g.Start) / uint64(step) // to is greater than Start
	if n >= MaxBuckets {
		return Grid{}, fmt.Errorf("checking query: more than %d steps; choose a step longer than %s", MaxBuckets, step)
	}
	g.Len = int(n) + 1
	return g, nil
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return ((a % b) + b) % b }

// At is the step of a time within the bounds of the query.
func (g Grid) At(t int64) int { return int((t - g.Start) / g.Step) }

// Tally counts by value.
type Tally struct {
	counts map[string]int64
	total  int64
}

// Add counts n more of v. It fails with ErrTooMany.
func (t *Tally) Add(v string, n int64) error {
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	t.counts[v] += n
	t.total += n
	if len(t.counts) > MaxValues {
		return ErrTooMany
	}
	return nil
}

// Merge adds what another counted.
func (t *Tally) Merge(o *Tally) error {
	for v, n := range o.counts {
		if err := t.Add(v, n); err != nil {
			return err
		}
	}
	return nil
}

// Counts returns the most frequent values.
func (t *Tally) Counts(top int) *Counts {
	return &Counts{Total: t.total, Values: len(t.counts), Top: mostOf(t.counts, top)}
}

func mostOf(counts map[string]int64, top int) []Count {
	all := make([]Count, 0, len(counts))
	for v, n := range counts {
		all = append(all, Count{v, n})
	}
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value)) })
	return slices.Clip(all[:min(top, len(all))])
}

// Chart counts over time, and by value if lines are added to.
type Chart struct {
	grid  Grid
	all   []int64
	lines map[string][]int64
}

// NewChart counts nothing yet.
func NewChart(g Grid) *Chart {
	return &Chart{grid: g, all: make([]int64, g.Len), lines: map[string][]int64{}}
}

// Grid returns the steps.
func (c *Chart) Grid() Grid { return c.grid }

// Add counts n more in a step.
func (c *Chart) Add(step int, n int64) { c.all[step] += n }

// AddTo counts n more of v in a step, which Add must be told as well. It fails with ErrTooMany.
func (c *Chart) AddTo(v string, step int, n int64) error {
	line := c.lines[v]
	if line == nil {
		if (len(c.lines)+1)*len(c.all) > MaxCells {
			return ErrTooMany
		}
		line = make([]int64, len(c.all))
		c.lines[v] = line
	}
	line[step] += n
	return nil
}

// Merge adds what another counted in the same steps.
func (c *Chart) Merge(o *Chart) error {
	for i, n := range o.all {
		c.all[i] += n
	}
	for v, line := range o.lines {
		for i, n := range line {
			if n == 0 {
				continue
			}
			if err := c.AddTo(v, i, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Series returns what was counted.
func (c *Chart) Series(top int) *Series {
	s := &Series{From: time.Unix(0, c.grid.Start).UTC(), Step: time.Duration(c.grid.Step), All: c.all}
	totals := map[string]int64{}
	for v, line := range c.lines {
		for _, n := range line {
			totals[v] += n
		}
	}
	for _, t := range mostOf(totals, top) {
		s.By = append(s.By, Line{t.Value, c.lines[t.Value]})
	}
	return s
}
