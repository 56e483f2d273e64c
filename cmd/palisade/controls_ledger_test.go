package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/pgtest"
)

// verifyShared verifies what several controls keep in a PostgreSQL.
func verifyShared(t *testing.T, env []string, want int, args ...string) *audit.Result {
	t.Helper()
	r := verb(t, env, append([]string{"audit", "verify", "--store=env:CONTROL_STORE", "--format=json"}, args...)...)
	if r.code != want {
		t.Fatalf("exit code %d, want %d: %s%s", r.code, want, r.out, r.err)
	}
	out := new(audit.Result)
	if err := json.Unmarshal([]byte(r.out), out); err != nil && want != exitError {
		t.Fatal(err)
	}
	return out
}

// load delivers events as the sidecar of orders until it is stopped, each batch until the bus acknowledges it.
type load struct {
	mu   sync.Mutex
	ids  []string // of the events that were acknowledged
	stop func()
}

const loadBatch = 20

func newLoad(t *testing.T, orders *proxy) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l, done := new(load), make(chan struct{})
	l.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(l.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for batch := 0; ctx.Err() == nil; batch++ {
			<-tick.C
			var lines []byte
			var ids []string
			for i := range loadBatch {
				id := fmt.Sprintf("load-%d-%d", batch, i)
				e := &event.Event{Time: time.Now(), ID: id, Side: event.SideInbound, Listener: "orders/inbound", Service: "orders", Allowed: true, Status: 200}
				ids, lines = append(ids, id), append(event.AppendJSON(lines, e), '\n')
			}
			for ctx.Err() == nil {
				if err := orders.Deliver(ctx, fmt.Sprintf("load-%d", batch), lines); err == nil {
					l.mu.Lock()
					l.ids = append(l.ids, ids...)
					l.mu.Unlock()
					break
				}
			}
		}
	}()
	return l
}

// acknowledged are the events that were.
func (l *load) acknowledged() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// covered waits until more events were acknowledged, and the ledger has all that there are. It returns how many.
func (l *load) covered(d *daemon, more int) int {
	d.T.Helper()
	before := len(l.acknowledged())
	d.Eventually("more events are acknowledged", func() bool { return len(l.acknowledged()) >= before+more })
	want := len(l.acknowledged())
	d.Eventually(fmt.Sprintf("the ledger has %d records", want), func() bool { return verifyShared(d.T, nil, exitOK).Verified >= uint64(want) })
	return want
}

var crashes = flag.Int("crashes", 1, "how often PostgreSQL is killed under load")

// crashed kills PostgreSQL under load: nothing that was acknowledged is lost or there twice, and the ledger has it.
func (l *load) crashed(t *testing.T, postgres *pgtest.Server, location string, d *daemon) {
	t.Helper()
	postgres.SQL(t, location, "CREATE TABLE before AS SELECT * FROM ledger_files")
	for range *crashes {
		l.covered(d, 5*loadBatch)
		postgres.Kill()
		must(t, postgres.Run())
	}
	l.covered(d, 5*loadBatch)
	l.stop()
	acknowledged := l.acknowledged()
	there := map[string]int{}
	d.Eventually("all that was acknowledged is kept", func() bool {
		clear(there)
		for id := range strings.Lines(postgres.SQL(t, location, "SELECT id FROM events") + "\n") {
			there[strings.TrimSpace(id)]++
		}
		return !slices.ContainsFunc(acknowledged, func(id string) bool { return there[id] == 0 })
	})
	for id, n := range there {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	var r *audit.Result
	d.Eventually("the ledger has all", func() bool {
		r = verifyShared(t, nil, exitOK)
		return r.Verified >= uint64(len(there)) && r.Beyond == 0
	})
	t.Logf("%d acknowledged, %d kept, %d verified", len(acknowledged), len(there), r.Verified)
}

// altered alters a record in PostgreSQL, for which a reader of the tables is enough to find it; and puts the database back to an earlier state,
// which the controls find.
func altered(t *testing.T, postgres *pgtest.Server, location string, controls ...*daemon) {
	t.Helper()
	postgres.SQL(t, location, "CREATE ROLE auditor LOGIN; GRANT SELECT ON events, events_next, ledger_files TO auditor")
	reader := []string{"CONTROL_STORE=" + strings.Replace(location, "user=postgres", "user=auditor", 1)}
	if r := verifyShared(t, reader, exitOK); r.Verified == 0 || r.Checkpoint.Origin != "shop.example/ledger" {
		t.Errorf("%+v", r)
	}
	number := postgres.SQL(t, location, "SELECT number FROM events WHERE id = 'load-3-7'")
	alter := "UPDATE events SET record = convert_to(replace(convert_from(record, 'UTF8'), '%s', '%s'), 'UTF8') WHERE number = %s"
	postgres.SQL(t, location, fmt.Sprintf(alter, "load-3-7", "load-3-8", number))
	r := verifyShared(t, reader, exitFindings)
	if len(r.Findings) != 1 || r.Findings[0].Kind != "altered" || fmt.Sprint(r.Findings[0].Number) != number {
		t.Errorf("record %s was altered: %+v", number, r.Findings)
	}
	postgres.SQL(t, location, fmt.Sprintf(alter, "load-3-8", "load-3-7", number))
	verifyShared(t, reader, exitOK)
	for _, d := range controls {
		if said := d.Messages.String(); strings.Contains(said, "do not agree") {
			t.Errorf("an alarm without a reason:\n%s", said)
		}
	}
	postgres.SQL(t, location, "DELETE FROM ledger_files; INSERT INTO ledger_files SELECT * FROM before")
	for _, d := range controls {
		d.Says("do not agree")
	}
}

// served is a second party that reads the ledger over HTTPS, from whichever control it asks.
type served struct {
	t                *testing.T
	own, key, bundle string
}

// newWitness gives a second party what it needs: the public key of the ledger that the controls share, and the bundle.
func newWitness(t *testing.T, of *daemon) *served {
	t.Helper()
	w := &served{t: t, own: t.TempDir(), bundle: filepath.Join(t.TempDir(), "bundle.json")}
	out := filepath.Join(t.TempDir(), "first")
	if r := verb(t, nil, "audit", "export", "--store=env:CONTROL_STORE", "--out="+out); r.code != exitOK {
		t.Fatal(r.err)
	}
	w.key = filepath.Join(out, "key.pub")
	must(t, os.WriteFile(w.bundle, []byte(of.must("bundle")), 0o600))
	return w
}

func (w *served) asks(d *daemon) result {
	return verb(w.t, nil, "audit", "witness", "https://"+d.at+"/v1/ledger", "--bundle="+w.bundle, "--own="+w.own, "--key="+w.key, "--name=auditor.example")
}

func (w *served) signs(d *daemon) {
	w.t.Helper()
	d.Eventually("the ledger is shown", func() bool { r := w.asks(d); return r.code == exitOK && strings.Contains(r.out, "auditor.example") })
}

func (w *served) refuses(d *daemon) {
	w.t.Helper()
	if r := w.asks(d); r.code != exitError || !strings.Contains(r.err, "fewer records than one before") {
		w.t.Errorf("%d: %s%s", r.code, r.out, r.err)
	}
}
