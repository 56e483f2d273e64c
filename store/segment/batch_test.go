package segment_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// TestBatch holds that events come back from a log as they were: the same bytes again, and the same keys.
func TestBatch(t *testing.T) {
	fleet := eventtest.New(3, start, time.Millisecond)
	all := append(fleet.Take(300), fleet.Logs(30)...)
	for _, events := range [][]*event.Event{nil, all[:1], all[300:], all} {
		record := segment.NewBatch(events).AppendBinary([]byte("before"))
		b, err := segment.ParseBatch(record[len("before"):])
		must(t, err)
		keys, err := b.Keys()
		must(t, err)
		for i, e := range events {
			if keys[i] != query.Key(e) {
				t.Errorf("%q, want %q", keys[i], query.Key(e))
			}
		}
		block := segment.NewBlock(0)
		block.Append(b, 1)
		got, err := segment.Events(block.View(), every(block.View()))
		must(t, err)
		if len(got) != len(events) {
			t.Fatalf("%d events, want %d", len(got), len(events))
		}
		for i, e := range events {
			if got, want := event.AppendJSON(nil, got[i]), event.AppendJSON(nil, e); !bytes.Equal(got, want) {
				t.Errorf("%s\nwant %s", got, want)
			}
		}
	}
}

// FuzzParseBatch reads bytes that may be damaged: nothing panics, and what is read is written as it was.
func FuzzParseBatch(f *testing.F) {
	fleet := eventtest.New(3, start, time.Millisecond)
	for _, events := range [][]*event.Event{nil, fleet.Take(1), fleet.Take(3), fleet.Logs(1)} {
		f.Add(segment.NewBatch(events).AppendBinary(nil))
	}
	f.Add([]byte("\x01\x05\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := segment.ParseBatch(data)
		if err != nil {
			return
		}
		_, _ = b.Keys()
		block := segment.NewBlock(0)
		block.Append(b, 1)
		_, _ = segment.Events(block.View(), every(block.View()))
		again, err := segment.ParseBatch(b.AppendBinary(nil))
		must(t, err)
		if !bytes.Equal(again.AppendBinary(nil), b.AppendBinary(nil)) {
			t.Errorf("%q is another the second time", data)
		}
	})
}
