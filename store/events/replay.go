package events

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/segment"
)

// replay brings the events of a record of the log back into memory, with the numbers they were given, and returns how many
// there are.
func (s *Store) replay(rec journal.Record) (int, error) {
	if len(rec.Data) < numberBytes {
		return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, errors.New("it does not begin with a number"))
	}
	rows, err := segment.ParseBatch(rec.Data[numberBytes:])
	if err != nil {
		return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, err)
	}
	keys, err := rows.Keys()
	if err != nil {
		return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, err)
	}
	s.take(rows, binary.BigEndian.Uint64(rec.Data))
	for _, key := range keys {
		s.tail.keys[s.marker.ofKey(key)] = struct{}{}
	}
	s.given = s.next
	s.tail.upTo = rec.Seq
	return rows.Rows(), nil
}
