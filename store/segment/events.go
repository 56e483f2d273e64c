package segment

import (
	"fmt"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Events puts events together from some rows of a chunk, in ascending order. What event.AppendJSON writes of them is what it
// wrote of those that were appended, byte for byte.
func Events(c Chunk, rows []uint32) ([]*event.Event, error) {
	out := make([]*event.Event, len(rows))
	for i := range out {
		out[i] = &event.Event{}
	}
	for i := range columns {
		if c.blank(i) { // nothing is what an event has anyway
			continue
		}
		s, err := c.pick(i, rows)
		if err != nil {
			return nil, err
		}
		if err := columns[i].restore(out, s); err != nil {
			return nil, err
		}
	}
	return out, nil
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
	ids, err := c.pick(idColumn, rows)
	if err != nil {
		return nil, err
	}
	open, err := c.pick(openColumn, rows)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(rows))
	for i := range out {
		if out[i] = ids.text(i); open.numbers[i] != 0 {
			out[i] += query.OpenMark
		}
	}
	return out, nil
}
