package atlas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/topology"
)

var noon = time.Date(2026, 11, 17, 12, 0, 0, 0, time.UTC)

// fleet is a small mesh; more stands in the model of web.
func fleet(t *testing.T, more string) (*model.Snapshot, *model.Fleet) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "palisade.yaml")
	text := `
version: 1
fleet: shop
trust_domain: shop.example
mesh: {}
edge: {listeners: {public: {address: 127.0.0.1:8443, tls: {local: true}}}}
services:
  web: {address: "http://127.0.0.1:9001", expose: [{host: shop.localhost, path: /**, methods: [GET], allow: [{anyone: true}]}]` + more + `}
  orders: {address: "http://127.0.0.1:9002", callers: [web]}
  db: {address: "http://127.0.0.1:9003", callers: [orders]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, findings, err := model.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	snap, compiled := d.Compile(model.Options{Development: true})
	if snap == nil {
		t.Fatal(findings, compiled)
	}
	return snap, &d.Fleet
}

type fixture struct {
	*testing.T
	store *events.Store
	k     *Keeper
	book  Book
	n     int
}

// shelves runs a test on each kind.
func shelves(t *testing.T, test func(x *fixture)) {
	t.Run("folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "maps")
		x := newFixture(t, func(context.Context) (Shelf, error) { return Folder(dir) })
		x.book = In(dir)
		test(x)
	})
	t.Run("shared", func(t *testing.T) {
		location := postgres.Database(t)
		s := openShared(t, location)
		x := newFixture(t, func(ctx context.Context) (Shelf, error) { return Shared(ctx, location) })
		x.book = sharedBook(s)
		test(x)
	})
}

func newFixture(t *testing.T, shelf func(context.Context) (Shelf, error)) *fixture {
	t.Helper()
	snap, declared := fleet(t, "")
	x := &fixture{T: t, k: &Keeper{Shelf: shelf, Log: slog.New(slog.DiscardHandler)}}
	x.k.Model = func() (*model.Snapshot, *model.Fleet) { return snap, declared }
	files, err := shelf(t.Context())
	x.must(err)
	t.Cleanup(func() { x.must(files.Close()) })
	x.k.files = files
	x.anew()
	x.begin()
	return x
}

// anew is another store.
func (x *fixture) anew() {
	x.Helper()
	s, _, err := events.Open(x.Context(), events.Options{Dir: x.TempDir()})
	x.must(err)
	x.Cleanup(func() { x.must(s.Close()) })
	x.store = s
}

func (x *fixture) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// begin is a process that starts: what was not written is gone.
func (x *fixture) begin() {
	x.Helper()
	x.must(x.k.begin(x.Context(), x.store))
	x.must(x.k.note(noon))
}

func (x *fixture) read() {
	x.Helper()
	for more := true; more; {
		var err error
		more, err = x.k.read(x.Context(), x.store)
		x.must(err)
	}
}

// call is an event that is kept in the store.
func (x *fixture) call(at time.Time, from, to string) *event.Event {
	x.Helper()
	x.n++
	domain := x.domain()
	e := &event.Event{
		Time: at, ID: event.NewID(at), Side: event.SideInbound, Workload: "spiffe://" + domain + "/service/" + from, Service: to, Route: "mesh:" + to + ":/**",
		Allowed: true, Status: 200, Took: time.Duration(x.n) * time.Millisecond, TLSVersion: "1.3",
	}
	x.must(x.store.Append(x.Context(), []*event.Event{e}))
	return e
}

func (x *fixture) domain() string {
	snap, _ := x.k.Model()
	return snap.TrustDomain
}

func (x *fixture) at(from, until time.Time) *topology.Map {
	x.Helper()
	m, err := x.book.Map(x.Context(), from, until)
	x.must(err)
	return m
}

func text(t *testing.T, of any) string {
	t.Helper()
	b, err := json.MarshalIndent(of, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeptIsWhatEventsShow ends processes at any moment, also between the files of one flush, and wants each event once.
func TestKeptIsWhatEventsShow(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			shelves(t, func(x *fixture) { keptIsWhatEventsShow(x, rand.New(rand.NewPCG(seed, 4))) })
		})
	}
}

func keptIsWhatEventsShow(x *fixture, r *rand.Rand) {
	want := topology.NewFold(Declared(x.k.Model()))
	names := []string{"web", "orders", "db", "gone"}
	for range 80 {
		e := x.call(noon.Add(time.Duration(r.IntN(30*3600))*time.Second), names[r.IntN(4)], names[r.IntN(3)])
		want.Event(e)
		if r.IntN(3) == 0 {
			x.read()
		}
		switch r.IntN(10) {
		case 0:
			x.must(x.k.flush())
		case 1:
			x.begin()
		case 2: // some files, and not how far
			for _, p := range x.k.open {
				if p.dirty && r.IntN(2) == 0 {
					x.must(writePacked(x.k.files, p.name(), &kept{x.k.next, p.fold.Part()}))
				}
			}
			x.begin()
		case 3: // all files, and not how far
			position, err := fs.ReadFile(x.k.files, positionFile)
			x.must(x.k.flush())
			if err == nil {
				x.must(x.k.files.Write(positionFile, position))
			}
			x.begin()
		}
	}
	x.read()
	x.must(x.k.flush())
	got := x.at(noon, noon.Add(48*time.Hour))
	got.Models = nil
	if a, b := text(x.T, got), text(x.T, want.Map()); a != b {
		x.Errorf("kept\n%s\nwant\n%s", a, b)
	}
}

// TestModelOfThen draws a day under the model that was in force on it.
func TestModelOfThen(t *testing.T) { shelves(t, modelOfThen) }

func modelOfThen(x *fixture) {
	t := x.T
	x.call(noon, "web", "orders")
	x.read()
	x.must(x.k.flush())
	old, _ := x.k.Model()
	snap, declared := fleet(t, `, callers: [db]`)
	x.k.Model = func() (*model.Snapshot, *model.Fleet) { return snap, declared }
	changed := noon.Add(72 * time.Hour)
	x.must(x.k.note(changed))
	x.must(x.k.note(changed.Add(time.Hour))) // the same
	x.call(changed.Add(time.Minute), "db", "web")
	x.call(noon.Add(time.Minute), "db", "web") // late: it was not declared then
	x.read()
	x.must(x.k.flush())

	before := x.at(noon.Truncate(day), noon.Truncate(day).Add(day))
	if e := before.Edge("db", "web", topology.Call); before.Snapshot != old.Version || e == nil || e.Declared || e.Seen.Calls != 1 || before.Events != 2 {
		t.Errorf("then: %s", text(t, before))
	}
	after := x.at(changed.Truncate(day), changed.Truncate(day).Add(day))
	if e := after.Edge("db", "web", topology.Call); after.Snapshot != snap.Version || e == nil || !e.Declared || e.Seen.Calls != 1 || after.Events != 1 || len(e.Permits) == 0 {
		t.Errorf("now: %s", text(t, after))
	}
	if len(before.Models) != 1 || len(after.Models) != 2 || after.Models[0].Snapshot != old.Version || !after.Models[1].Since.Equal(changed) {
		t.Errorf("models %v, %v", before.Models, after.Models)
	}
	hour := x.at(noon.Add(20*time.Minute), noon.Add(21*time.Minute)) // shorter than what is kept
	if hour.Events != 2 {
		t.Errorf("%d events of an hour", hour.Events)
	}
	quiet := x.at(noon.Add(day), noon.Add(2*day))
	if quiet.Events != 0 || quiet.Snapshot != old.Version {
		t.Errorf("a day without events: %s", text(t, quiet))
	}
	if _, err := x.book.Map(t.Context(), noon.Add(-9*day), noon.Add(-8*day)); !errors.Is(err, ErrNone) {
		t.Errorf("before all: %v", err)
	}
	if _, err := In(t.TempDir()).Map(t.Context(), noon, noon.Add(day)); !errors.Is(err, ErrNone) {
		t.Errorf("of nothing: %v", err)
	}
	c, err := x.book.Contents(t.Context())
	x.must(err)
	if len(c.Parts) != 2 || len(c.Models) != 2 || !c.Parts[0].From.Equal(noon) || !c.Parts[0].Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("contents %+v", c)
	}
}

// TestHoursBecomeDays wants the same map of what is far back, and nothing of what is too old.
func TestHoursBecomeDays(t *testing.T) { shelves(t, hoursBecomeDays) }

func hoursBecomeDays(x *fixture) {
	t := x.T
	for hour := range 60 {
		x.call(noon.Add(time.Duration(hour)*time.Hour), "web", "orders")
	}
	x.read()
	x.must(x.k.flush())
	from, until := noon.Truncate(day), noon.Truncate(day).Add(3*day)
	want := text(t, x.at(from, until))
	x.must(x.k.tidy(noon.Add(hoursKept + day))) // the first day is far back, and the second one just not
	if got := text(t, x.at(from, until)); got != want {
		t.Errorf("as days\n%s\nas hours\n%s", got, want)
	}
	c, err := x.book.Contents(t.Context())
	x.must(err)
	if len(c.Parts) != 49 || c.Parts[0].Until.Sub(c.Parts[0].From) != day {
		t.Errorf("%d parts, the first %v", len(c.Parts), c.Parts[0])
	}
	if m := x.at(noon, noon.Add(time.Hour)); m.Events != 12 {
		t.Errorf("%d events of the day around an hour", m.Events)
	}
	// A process that died before the hours were deleted.
	x.must(writePacked(x.k.files, stretch{noon, time.Hour}.name(), &kept{1, &topology.Part{Format: topology.Format, Events: 1}}))
	if got := text(t, x.at(from, until)); got != want {
		t.Errorf("with an hour that is in its day too\n%s", got)
	}
	x.begin()
	x.call(noon.Add(90*time.Minute), "web", "orders") // late, into a day
	x.read()
	x.must(x.k.flush())
	if m := x.at(from, from.Add(day)); m.Events != 13 {
		t.Errorf("%d events of a day, want 13", m.Events)
	}
	snap, declared := fleet(t, `, callers: [db]`)
	x.k.Model = func() (*model.Snapshot, *model.Fleet) { return snap, declared }
	x.must(x.k.note(noon.Add(20 * day)))
	x.k.Keep = 400 * day
	x.k.tidied = time.Time{}
	x.must(x.k.tidy(from.Add(day + 400*day + time.Hour)))
	c, err = x.book.Contents(t.Context())
	x.must(err)
	if len(c.Parts) != 2 || len(c.Models) != 2 {
		t.Errorf("%d parts and %d models are left", len(c.Parts), len(c.Models))
	}
	x.k.tidied = time.Time{}
	x.must(x.k.tidy(noon.Add(500 * day)))
	files, err := fs.ReadDir(x.k.files, declaredDir)
	x.must(err)
	if c, err = x.book.Contents(t.Context()); err != nil || len(c.Parts) != 0 || len(c.Models) != 1 || len(files) != 1 {
		t.Errorf("%+v and %d files are left, %v", c, len(files), err)
	}
}

func TestDamageIsSetAside(t *testing.T) { shelves(t, damageIsSetAside) }

func damageIsSetAside(x *fixture) {
	t := x.T
	x.call(noon, "web", "orders")
	x.read()
	x.must(x.k.flush())
	name := stretch{noon, time.Hour}.name()
	data, err := fs.ReadFile(x.k.files, name)
	x.must(err)
	data[len(data)-9] ^= 1 // in its sum
	x.must(x.k.files.Write(name, data))
	if _, err := x.book.Map(t.Context(), noon, noon.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("a damaged file was read: %v", err)
	}
	x.begin()
	x.call(noon.Add(time.Minute), "web", "orders")
	x.read()
	x.must(x.k.flush())
	if m := x.at(noon, noon.Add(time.Hour)); m.Events != 1 {
		t.Errorf("%d events, want that of after the damage", m.Events)
	}
	if _, err := fs.Stat(x.k.files, name+".damaged"); err != nil {
		t.Error(err)
	}
}

// TestStoreBeginsAnew keeps what was seen, and goes on with what comes.
func TestStoreBeginsAnew(t *testing.T) { shelves(t, storeBeginsAnew) }

func storeBeginsAnew(x *fixture) {
	t := x.T
	for range 5 {
		x.call(noon, "web", "orders")
	}
	x.read()
	x.must(x.k.flush())
	x.anew()
	x.call(noon, "web", "orders")
	x.begin()
	x.call(noon, "web", "orders")
	x.read()
	x.must(x.k.flush())
	if m := x.at(noon, noon.Add(time.Hour)); m.Events != 6 {
		t.Errorf("%d events, want the five of the first store and the one that came to the second", m.Events)
	}
}
