package reliability

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

var kills = flag.Int("kills", 9, "rounds in each of which a part of a cluster is killed; nine are each part once")

// killed kills parts of a cluster with SIGKILL at random moments under load, one after the other and each as often, and starts them
// again. Then every record that a part had acknowledged is in the store once, nothing else is, and the ledger has all of it.
func (f *fleet) killed(t *testing.T) {
	outer := f.t
	f.t = t
	defer func() { f.t = outer }()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 5))
	parts := slices.Concat([]*node{f.edge, f.front, f.back, f.postgres}, f.bus, f.controls)
	l := startLoad(t, f.address(), "lab.localhost")
	l.smooth("the load runs", time.Now(), 500*time.Millisecond)
	tokens, a := f.tokens(), f.act()
	times := map[string]int{}
	for round := range *kills {
		if round%len(parts) == 0 {
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		}
		n := parts[round%len(parts)]
		pause(t, time.Duration(r.IntN(500))*time.Millisecond)
		if n == f.postgres {
			f.crash()
		} else {
			n.Kill()
		}
		times[strings.TrimRight(n.Name, "-0123456789")]++
		pause(t, time.Duration(r.IntN(1000))*time.Millisecond)
		n.start()
		l.smooth("requests are answered after the kill of "+n.Name, time.Now(), 200*time.Millisecond)
	}
	f.whole(time.Now())
	all := l.finish()
	lost, _ := lost(all)
	pause(t, 200*time.Millisecond) // what is offered to the journal is on disk 10 ms later
	acknowledged, gone := f.missing(t, all, f.edge, f.front, f.back)
	acts, actsGone := a.finish(tokens)
	if gone+actsGone > 0 || acts == 0 {
		t.Errorf("%d records and %d of %d acts of administrators were acknowledged and are gone", gone, actsGone, acts)
	}
	events := f.stored(t)
	t.Logf("seed %d, killed %v: %d requests, %d of them lost; %d acknowledged records and %d acts, none lost; %d events, each once in the store and in the ledger",
		seed, times, len(all), lost, acknowledged, acts, events)
}

// stored waits until the store of a cluster has what its parts recorded, and the ledger too, and returns how many events that are.
func (f *fleet) stored(t *testing.T) int {
	t.Helper()
	recorded, there := f.recorded(t), map[string]bool{}
	for missing := -1; missing != 0; { // the stream of events may hold what came in minutes of kills: as long as it gets less
		before := missing
		patiently(t, "more of what was recorded is in the store", 2*time.Minute, func() bool {
			pause(t, time.Second) // what is asked here costs the store as well
			there, missing = f.keys(t), 0
			for key := range recorded {
				if !there[key] {
					missing++
				}
			}
			return missing == 0 || before < 0 || missing < before
		}, func() string {
			return fmt.Sprintf("%d of %d events are missing\n%s\n%s", missing, len(recorded), f.controls[0], f.controls[1])
		})
	}
	for key := range f.recorded(t) { // with what was recorded since
		delete(there, key)
	}
	for key := range there {
		t.Errorf("the store has %s, which nobody recorded", key)
	}
	total, said := 0, ""
	patiently(t, "the ledger has all that the store has", 3*time.Minute, func() bool {
		var err error
		total = len(f.keys(t))
		one := f.controls[0]
		said, err = one.Run(append(append([]string{"env"}, one.env...), f.palisade(), "audit", "verify", "--store", "env:STORE", "--format", "json")...)
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		var v struct{ Verified, Beyond int }
		return json.Unmarshal([]byte(said), &v) == nil && v.Verified >= total && v.Beyond == 0
	}, func() string { return said })
	return total
}

// recorded are the keys of all that the journals of proxies and controls have.
func (f *fleet) recorded(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, n := range append([]*node{f.edge, f.front, f.back}, f.controls...) {
		for rec, err := range journal.Read(n.Inside(filepath.Join(n.state, "events")), 0) {
			if errors.Is(err, fs.ErrNotExist) {
				continue // a control to which nothing has happened yet
			}
			if err != nil {
				t.Errorf("the record of %s: %v", n.Name, err)
				continue
			}
			e, err := event.Parse(rec.Data)
			if err != nil {
				t.Errorf("the record of %s: %v", n.Name, err)
				continue
			}
			out[query.Key(e)] = true
		}
	}
	return out
}

// keys are those of the events in the store; the table has each once.
func (f *fleet) keys(t *testing.T) map[string]bool {
	t.Helper()
	text, err := f.postgres.Run(program("psql"), "host="+f.postgres.IP+" user=postgres sslmode=require", "-Atqc", "SELECT key FROM events")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for key := range strings.Lines(text) {
		out[strings.TrimSuffix(key, "\n")] = true
	}
	return out
}
