package audit

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

// Events that retention deletes leave numbers that no record has. That they were deleted, how many of which class and between
// which numbers, is an act of its own, recorded before and so in the ledger: nobody can delete others and say it was retention.

// deletedBy is who records such acts. Proxies cannot: what they deliver names themselves.
const deletedBy = "control"

// Deleting is the act that says what has been deleted since the beginning, by class.
func Deleting(all map[string]events.Deleted) *event.Event {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(all)) {
		d := all[class]
		parts = append(parts, fmt.Sprintf("%d of %s from %d to %d", d.Count, class, d.First, d.Last))
	}
	return &event.Event{Act: &event.Act{
		Kind: event.KindDeleted, Outcome: event.Done, Who: "retention", Object: strings.Join(parts, ", "), Proxy: deletedBy,
		Text: "deleted for their age since the beginning, by the numbers of the ledger",
	}}
}

// deletions reads what a record says about others; nil if nothing.
func deletions(record []byte) []ledger.Deletion {
	if !bytes.Contains(record, []byte(event.KindDeleted)) {
		return nil
	}
	e, err := event.Parse(record)
	if err != nil || e.Act == nil || e.Act.Kind != event.KindDeleted || e.Act.Proxy != deletedBy || e.Act.Outcome != event.Done {
		return nil
	}
	out := []ledger.Deletion{}
	for part := range strings.SplitSeq(e.Act.Object, ", ") {
		w := strings.Fields(part) // 12 of acts from 1 to 500
		if len(w) != 7 {
			return nil
		}
		d := ledger.Deletion{Class: w[2]}
		for at, to := range map[int]*uint64{0: &d.Count, 4: &d.First, 6: &d.Last} {
			if *to, err = strconv.ParseUint(w[at], 10, 64); err != nil {
				return nil
			}
		}
		out = append(out, d)
	}
	return out
}
