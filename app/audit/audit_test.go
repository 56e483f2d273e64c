package audit

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/segment"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a machine that keeps events.
type place struct {
	Place
	keeper *Keeper
	signer note.Signer
	public string
	alarms []string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	keeper, err := keyring.LocalKeeper(filepath.Join(dir, "keys"))
	must(t, err)
	ring, err := keyring.OpenRing(t.Context(), filepath.Join(dir, "ring"), keeper)
	must(t, err)
	key, err := ring.Ed25519(t.Context(), "ledger")
	must(t, err)
	signer, public, err := ledger.NewSigner("shop.example/ledger", key)
	must(t, err)
	p := &place{Place: Place{Ledger: filepath.Join(dir, "ledger"), Store: filepath.Join(dir, "store")}, signer: signer, public: public}
	p.keeper = &Keeper{
		Ledger: Folder(p.Ledger, signer, public), Log: slog.New(slog.DiscardHandler),
		Alarm: func(_ context.Context, text string) { p.alarms = append(p.alarms, text) },
	}
	return p
}

func (p *place) open(t testing.TB, o events.Options) *events.Store {
	t.Helper()
	o.Dir = p.Store
	s, r, err := events.Open(t.Context(), o)
	must(t, err)
	if len(r.Damaged) > 0 {
		t.Fatal(r.Damaged)
	}
	return s
}

// running runs the keeper until the func that is returned is called.
func (p *place) running(t testing.TB, s Source) func() {
	t.Helper()
	p.keeper.Open = func(context.Context) (Source, error) { return s, nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.keeper.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		must(t, <-done)
	}
}

// told waits until a checkpoint tells of n records.
func (p *place) told(t testing.TB, n uint64) {
	t.Helper()
	for {
		k, err := readKey(filepath.Join(p.Ledger, keyFile))
		if err == nil {
			var text []byte
			if text, err = readSmall(filepath.Join(p.Ledger, checkpointFile)); err == nil {
				keys := ledger.Keys{Ledger: k}
				if c, err := keys.Checkpoint(text); err == nil && c.Size >= n {
					return
				}
			}
		}
		poll(t, "no checkpoint tells of that many records", err)
	}
}

// poll waits a little, and fails when the test's time is over.
func poll(t testing.TB, why string, err error) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(why, err)
	case <-time.After(20 * time.Millisecond):
	}
}

// keep brings events into the store and the ledger.
func (p *place) keep(t testing.TB, o events.Options, all []*event.Event) {
	t.Helper()
	s := p.open(t, o)
	stop := p.running(t, s)
	next, err := s.Next(t.Context())
	must(t, err)
	must(t, s.Append(t.Context(), all))
	p.told(t, next-1+uint64(len(all)))
	stop()
	must(t, s.Close())
}

func (p *place) verify(t testing.TB, trust *Trust) *Result {
	t.Helper()
	r, err := VerifyStore(t.Context(), p.Place, time.Time{}, trust)
	must(t, err)
	return r
}

func given(n int) []*event.Event { return eventtest.New(5, start, time.Second).Take(n) }

// TestKeep takes events through a restart, sealing and merging; while a process writes, others verify.
func TestKeep(t *testing.T) {
	p, all := newPlace(t), given(6000)
	p.keep(t, events.Options{}, all[:100])
	s := p.open(t, events.Options{SealRows: 500, SealAge: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, func(err error) { t.Error(err) }) }()
	stop := p.running(t, s)
	for part := range slices.Chunk(all[100:], 590) {
		must(t, s.Append(t.Context(), part))
		if r := p.verify(t, &Trust{}); !r.Sound() || !r.OwnKey || r.Verified != r.Checkpoint.Size {
			t.Fatalf("%+v", r)
		}
	}
	p.told(t, 6000)
	must(t, s.Compact(t.Context(), start.Add(240*time.Hour)))
	if r := p.verify(t, &Trust{}); !r.Sound() || r.Verified != 6000 || r.Deleted+r.Unseen+r.Beyond != 0 {
		t.Errorf("%+v", r)
	}
	stop()
	cancel()
	must(t, <-done)
	must(t, s.Close())
	if len(p.alarms) > 0 || p.keeper.Err() != nil || p.keeper.Behind() != 0 {
		t.Error(p.alarms, p.keeper.Err(), p.keeper.Behind())
	}
}

// TestRetention deletes old events with the act that says so, and then one more.
func TestRetention(t *testing.T) {
	p, all := newPlace(t), given(3000)
	o := events.Options{Keep: map[string]time.Duration{segment.ClassRequest: 24 * time.Hour}}
	p.keep(t, o, all[:1000])
	var s *events.Store
	told := 0
	deleting := func(d map[string]events.Deleted) error {
		told++
		e := Deleting(d)
		e.Time = start.Add(200 * time.Hour)
		e.ID = event.NewID(e.Time)
		return s.Append(t.Context(), []*event.Event{e})
	}
	s = p.open(t, o)
	s.OnDelete(deleting)
	stop := p.running(t, s)
	must(t, s.Seal(t.Context()))
	must(t, s.Append(t.Context(), all[1000:]))
	must(t, s.Retain(t.Context(), start.Add(25*time.Hour)))
	if told != 1 {
		t.Fatal("nothing was deleted")
	}
	must(t, s.Seal(t.Context()))
	p.told(t, 3001)
	r := p.verify(t, &Trust{})
	if !r.Sound() || r.Deleted < 500 || r.Verified+r.Deleted != 3001 {
		t.Errorf("%+v", r)
	}
	// What is exported without what came last says so, too.
	out := t.TempDir()
	m, err := Export(t.Context(), p.Place, Part{Until: start.Add(900 * time.Second)}, nil, out)
	must(t, err)
	if x, err := VerifyExport(t.Context(), out, &Trust{}); err != nil || !x.Sound() || x.Verified != m.Records || x.Deleted == 0 || x.Deleted != m.Last-m.Records || x.Last >= 1001 {
		t.Errorf("%+v, %+v, %v", m, x, err)
	}
	must(t, os.Remove(filepath.Join(out, deletionsFile)))
	if x, err := VerifyExport(t.Context(), out, &Trust{}); err != nil || x.Sound() || x.Findings[0].Kind != ledger.Missing {
		t.Errorf("%+v, %v", x, err)
	}
	// Whoever deletes more than the ledger says is found: here a whole segment, of another class.
	stop()
	must(t, s.Close())
	entries, err := filepath.Glob(filepath.Join(p.Store, "segments", "*-"+segment.ClassConnection+".parquet"))
	must(t, err)
	if len(entries) == 0 {
		t.Fatal("no segment of connections")
	}
	must(t, os.Remove(entries[0]))
	if r := p.verify(t, &Trust{}); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Text, filepath.Base(entries[0])) || r.Verified+r.Deleted+r.Findings[0].Count != 3001 {
		t.Errorf("%+v", r)
	}
	if len(p.alarms) > 0 {
		t.Error(p.alarms)
	}
}

// TestLateLedger begins a ledger when some records are gone already.
func TestLateLedger(t *testing.T) {
	p, all := newPlace(t), given(12_000)
	o := events.Options{Keep: map[string]time.Duration{segment.ClassConnection: time.Hour, segment.ClassRequest: 1000 * time.Hour}}
	s := p.open(t, o)
	must(t, s.Append(t.Context(), all[:4000]))
	must(t, s.Seal(t.Context()))
	must(t, s.Retain(t.Context(), start.Add(20*time.Hour)))
	must(t, s.Append(t.Context(), all[4000:]))
	next, err := s.Next(t.Context()) // what is older than what was deleted is not taken
	must(t, err)
	stop := p.running(t, s)
	p.told(t, next-1)
	stop()
	must(t, s.Close())
	r := p.verify(t, &Trust{})
	if !r.Sound() || r.Unseen == 0 || r.Verified+r.Unseen != next-1 {
		t.Errorf("%+v", r)
	}
	if len(p.alarms) == 0 || !strings.Contains(p.alarms[0], "were gone before the ledger saw them") {
		t.Error(p.alarms)
	}
}

// TestAlarms gives the keeper stores that are not what they were.
func TestAlarms(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]*event.Event) []*event.Event
		want   string
	}{
		"short": {func(all []*event.Event) []*event.Event { return all[:600] }, "the store of events has lost its last records"},
		"altered": {func(all []*event.Event) []*event.Event {
			return slices.Concat(all[:7], given(2000)[1500:1501], all[8:])
		}, "record 8"},
	} {
		t.Run(name, func(t *testing.T) {
			p, all := newPlace(t), given(1000)
			p.keep(t, events.Options{}, all)
			must(t, os.RemoveAll(p.Store))
			s := p.open(t, events.Options{})
			must(t, s.Append(t.Context(), c.change(all)))
			stop := p.running(t, s)
			for p.keeper.Err() == nil {
				poll(t, "nothing failed", nil)
			}
			stop()
			must(t, s.Close())
			if len(p.alarms) != 1 || !strings.Contains(p.alarms[0], c.want) {
				t.Error(p.alarms)
			}
			if r := p.verify(t, &Trust{}); r.Sound() {
				t.Errorf("%+v", r)
			}
		})
	}
}
