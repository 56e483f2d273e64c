package audit

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// TestHold: a segment of which only what is held is left verifies, in the store and as an export, also once the hold is
// released; who takes one held record out of it is found, although those around it
// are deleted, and it is named if none behind it is.
func TestHold(t *testing.T) {
	p, all := newPlace(t), given(1500)
	o := events.Options{Keep: map[string]time.Duration{segment.ClassRequest: 24 * time.Hour}}
	s := p.open(t, o)
	s.OnDelete(func(d map[string]events.Deleted) error {
		e := Deleting(d)
		e.Time = start.Add(200 * time.Hour)
		e.ID = event.NewID(e.Time)
		return s.Append(t.Context(), []*event.Event{e})
	})
	stop := p.running(t, s)
	hold := query.Hold{Name: "case-1", Query: "service:orders", By: "root", Placed: start}
	must(t, s.Hold(t.Context(), hold))
	newest := start.Add(1400 * time.Second)
	must(t, s.Hold(t.Context(), query.Hold{Name: "case-2", From: newest, By: "root", Placed: start}))
	must(t, s.Append(t.Context(), all))
	p.told(t, 1500) // it has seen what is deleted
	must(t, s.Seal(t.Context()))
	must(t, s.Retain(t.Context(), start.Add(25*time.Hour)))
	must(t, s.Seal(t.Context()))
	p.told(t, 1501)

	meant, err := hold.Meant()
	must(t, err)
	held, gone := uint64(0), uint64(0)
	for _, e := range all {
		switch {
		case segment.ClassOf(e) != segment.ClassRequest || !e.Time.Before(newest):
		case meant.Match(e):
			held++
		default:
			gone++
		}
	}
	if held < 100 || gone < 100 {
		t.Fatalf("%d are held, %d are gone", held, gone)
	}
	if r := p.verify(t, &Trust{}); !r.Sound() || r.Deleted != gone || r.Verified != 1501-gone {
		t.Errorf("%+v, want %d deleted", r.Report, gone)
	}
	out := t.TempDir()
	m, err := Export(t.Context(), p.Place, Part{}, nil, out)
	must(t, err)
	sound := func(dir string) *Result {
		t.Helper()
		r, err := VerifyExport(t.Context(), dir, &Trust{Key: filepath.Join(p.Ledger, keyFile)})
		must(t, err)
		return r
	}
	if r := sound(out); !r.Sound() || r.Deleted != gone || m.Records != 1501-gone {
		t.Errorf("%+v, %+v", m, r.Report)
	}
	without := func(this func(number uint64, e *event.Event) bool) *Result {
		t.Helper()
		dir := copied(t, out)
		lines := unzipped(t, dir)
		at := slices.IndexFunc(lines, func(l []byte) bool {
			r, err := parseLine(bytes.TrimSuffix(l, []byte("\n")))
			must(t, err)
			e, err := event.Parse(r.Data)
			must(t, err)
			return this(r.Number, e)
		})
		zip(t, dir, slices.Delete(lines, at, at+1))
		return sound(dir)
	}
	amongDeleted := without(func(_ uint64, e *event.Event) bool { return meant.Match(e) })
	if amongDeleted.Sound() || amongDeleted.Findings[0].Kind != ledger.Missing || amongDeleted.Findings[0].Count != 1 {
		t.Errorf("a held record is missing: %+v", amongDeleted.Findings)
	}
	behind := without(func(n uint64, _ *event.Event) bool { return n == 1450 })
	if behind.Sound() || behind.Findings[0].Kind != ledger.Missing || behind.Findings[0].Number != 1450 || behind.Findings[0].Count != 1 {
		t.Errorf("record 1450 is missing: %+v", behind.Findings)
	}

	_, err = s.Release(t.Context(), "case-1")
	must(t, err)
	must(t, s.Retain(t.Context(), start.Add(26*time.Hour)))
	must(t, s.Seal(t.Context()))
	p.told(t, 1502)
	if r := p.verify(t, &Trust{}); !r.Sound() || r.Deleted != gone+held || r.Verified != 1502-gone-held {
		t.Errorf("%+v, want %d deleted", r.Report, gone+held)
	}
	stop()
	must(t, s.Close())
}
