package segment

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Events puts events together from some rows of a chunk, in ascending order. What event.AppendJSON writes of them is what it
// wrote of those that were appended, byte for byte.
func Events(c Chunk, rows []uint32) ([]*event.Event, error) { return portion(c, rows, allColumns) }

// portion puts together what some columns hold of events.
func portion(c Chunk, rows []uint32, places []int) ([]*event.Event, error) {
	out := make([]*event.Event, len(rows))
	for i := range out {
		out[i] = &event.Event{}
	}
	for some := range slices.Chunk(places, 2*runtime.GOMAXPROCS(0)) { // few enough to lie in memory together
		parts, err := pickAll(c, rows, some)
		if err != nil {
			return nil, err
		}
		for i, s := range parts {
			if s == nil {
				continue
			}
			if err := columns[some[i]].restore(out, s); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// pickAll picks rows of some columns, nil for those that are blank: nothing is what an event has anyway. Columns of a file are
// read on all processors at the same time.
func pickAll(c Chunk, rows []uint32, places []int) ([]*series, error) {
	out := make([]*series, len(places))
	pick := func(i int) (err error) {
		if !c.blank(places[i]) {
			out[i], err = c.pick(places[i], rows)
		}
		return err
	}
	if _, file := c.(*group); !file {
		for i := range places {
			if err := pick(i); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i := range places {
		work.Go(func() error { return pick(i) })
	}
	return out, work.Wait()
}

// restore gives events what a column holds of them.
func (c *column) restore(out []*event.Event, s *series) error {
	for i, e := range out {
		switch {
		case c.kind == list:
			took := s.list(i)
			if len(took) != len(e.Trail) {
				return fmt.Errorf("reading event %q: %d times of %d stages", e.ID, len(took), len(e.Trail))
			}
			for j, t := range took {
				e.Trail[j].Took = time.Duration(t)
			}
		case c.kind.isText():
			if err := c.setText(e, s.text(i)); err != nil {
				return fmt.Errorf("reading %s of event %q: %w", c.name, e.ID, err)
			}
		default:
			c.setNum(e, s.numbers[i])
		}
	}
	return nil
}

// Keys returns what query.Key says of some rows, in ascending order.
func Keys(c Chunk, rows []uint32) ([]string, error) {
	events, err := portion(c, rows, keyColumns)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(rows))
	for i, e := range events {
		out[i] = query.Key(e)
	}
	return out, nil
}

// keyColumns hold what query.Key looks at. In a segment of one class most are blank.
var keyColumns = placesOf("class", "id", "open", "service", "listener", "request_side", "connection_side", "act_proxy")

// allColumns are the places of all, in order.
var allColumns = placesOf()

// placesOf returns the places of columns with some names, in order; without names of all.
func placesOf(names ...string) []int {
	var out []int
	for i := range columns {
		if len(names) == 0 || slices.Contains(names, columns[i].name) {
			out = append(out, i)
		}
	}
	return out
}
