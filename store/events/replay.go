package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// replay brings the events of a record of the log back into memory, with the numbers they were given, and returns how many
// there are.
func (s *Store) replay(rec journal.Record) (int, error) {
	if len(rec.Data) < numberBytes {
		return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, errors.New("it does not begin with a number"))
	}
	var events []*event.Event
	for line := range bytes.Lines(rec.Data[numberBytes:]) {
		e, err := event.Parse(line)
		if err != nil {
			return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, err)
		}
		events = append(events, e)
	}
	err := s.take(events, binary.BigEndian.Uint64(rec.Data))
	for _, e := range events {
		s.tail.keys[s.marker.of(e)] = struct{}{}
	}
	s.given = s.next
	s.tail.upTo = rec.Seq
	return len(events), err
}
