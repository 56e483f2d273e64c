package events

import (
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/segment"
)

// errStale says that what Append looked up outside of the lock is not all that it needs any more.
var errStale = errors.New("segments have left meanwhile")

// asked is which events are in segments that are away.
type asked struct {
	of    map[*sealed]bool
	there map[mark]bool
	err   error // damage, by which some may be there twice
}

// ask looks for events in segments that are away. Nothing is held meanwhile: it may take long. The error says that it cannot be known now.
func (s *Store) ask(events []*event.Event) (*asked, error) {
	a := &asked{of: map[*sealed]bool{}, there: map[mark]bool{}}
	type pair struct {
		at int
		in *sealed
	}
	var pairs []pair
	s.mu.RLock()
	for i, e := range events {
		s.segments.awayAt(e.Time.UnixNano(), func(one *sealed) {
			if !a.of[one] {
				a.of[one] = true
				one.users.Add(1)
			}
			pairs = append(pairs, pair{i, one})
		})
	}
	s.mu.RUnlock()
	defer func() {
		for one := range a.of {
			_ = one.drop() // opened for reading: nothing can be lost
		}
	}()
	for _, p := range pairs {
		if p.in.err != nil {
			continue
		}
		e := events[p.at]
		there, err := p.in.segment.Holds(e)
		if _, away := errors.AsType[*segment.AwayError](err); away {
			return nil, fmt.Errorf("looking whether event %q is there: %w", e.ID, err)
		}
		a.err = errors.Join(a.err, err) // rather twice than not at all
		if there {
			a.there[s.marker.of(e)] = true
		}
	}
	return a, nil
}

// answers tells whether all segments that are away and may have one of the events were asked. The caller holds the lock.
func (s *Store) answers(a *asked, events []*event.Event) bool {
	all := true
	for _, e := range events {
		s.segments.awayAt(e.Time.UnixNano(), func(one *sealed) { all = all && a.of[one] })
	}
	return all
}
