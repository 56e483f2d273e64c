package replay

import (
	"encoding/json"
	"slices"

	"github.com/palisade-security/palisade/event"
)

// tally is a part of a report that is being made. It belongs to one goroutine.
type tally struct {
	Report
	changes map[string]*Change
	kept    map[string]*Count
	unknown map[string]*Count
}

func newTally() *tally {
	return &tally{changes: map[string]*Change{}, kept: map[string]*Count{}, unknown: map[string]*Count{}}
}

func (t *tally) add(e *event.Event, o *Outcome) {
	t.span(e, e)
	t.Records++
	switch {
	case o.Unknown != "":
		note(t.unknown, &Count{o.Unknown, 1, []string{e.ID}})
	case o.Kept != "":
		note(t.kept, &Count{o.Kept, 1, []string{e.ID}})
	case o.Narrowed():
		t.Denied++
		t.change(NewlyDenied, e, o)
	case o.Widened():
		t.Allowed++
		t.change(NewlyAllowed, e, o)
	default:
		t.Same++
	}
}

func (t *tally) span(first, last *event.Event) {
	if t.First.IsZero() || first.Time.Before(t.First) {
		t.First = first.Time
	}
	if last.Time.After(t.Last) {
		t.Last = last.Time
	}
}

func (t *tally) change(newly string, e *event.Event, o *Outcome) {
	c := &Change{
		Newly: newly, Who: whoOf(e), What: whatOf(e, o), Was: o.Was, Now: o.Now,
		Count: 1, First: e.Time, Last: e.Time, Samples: []string{e.ID},
	}
	key, _ := json.Marshal([]any{c.Newly, c.Who, c.What, c.Was, c.Now}) // texts and truths only
	t.merge(string(key), c)
}

func (t *tally) merge(key string, c *Change) {
	old, ok := t.changes[key]
	switch {
	case !ok && len(t.changes) >= maxChanges:
		t.MoreChanges += c.Count
	case !ok:
		t.changes[key] = c
	default:
		old.Count += c.Count
		old.Samples = sample(old.Samples, c.Samples...)
		if c.First.Before(old.First) {
			old.First = c.First
		}
		if c.Last.After(old.Last) {
			old.Last = c.Last
		}
	}
}

// note counts in all, whose reasons are few: they name at most what a model declares.
func note(all map[string]*Count, c *Count) {
	if len(all) >= maxWhys && all[c.Why] == nil {
		c.Why = "others"
	}
	if old := all[c.Why]; old != nil {
		old.Count += c.Count
		old.Samples = sample(old.Samples, c.Samples...)
		return
	}
	all[c.Why] = c
}

// join adds what another part has found.
func (t *tally) join(other *tally) {
	t.Records += other.Records
	t.Same += other.Same
	t.Denied += other.Denied
	t.Allowed += other.Allowed
	t.MoreChanges += other.MoreChanges
	if other.Records > 0 {
		t.span(&event.Event{Time: other.First}, &event.Event{Time: other.Last})
	}
	for key, c := range other.changes {
		t.merge(key, c)
	}
	for _, c := range other.kept {
		note(t.kept, c)
	}
	for _, c := range other.unknown {
		note(t.unknown, c)
	}
}

// report is the whole, in order.
func (t *tally) report() *Report {
	t.Changes = []Change{}
	for _, c := range t.changes {
		t.Changes = append(t.Changes, *c)
	}
	slices.SortFunc(t.Changes, compareChanges)
	for _, c := range t.kept {
		t.Kept = append(t.Kept, *c)
	}
	slices.SortFunc(t.Kept, compareCounts)
	for _, c := range t.unknown {
		t.Unknown = append(t.Unknown, *c)
	}
	slices.SortFunc(t.Unknown, compareCounts)
	return &t.Report
}
