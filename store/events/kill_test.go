package events_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
)

const (
	childDir    = "PALISADE_TEST_EVENTS"
	childBucket = "PALISADE_TEST_EVENTS_BUCKET" // URL of a server
	childFrom   = "PALISADE_TEST_EVENTS_FROM"
	killRounds  = "PALISADE_TEST_KILL_ROUNDS" // more than the usual few
	killBatch   = 40
	killEvents  = 200_000
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(appendUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// appendUntilKilled appends events, beginning some before the first that was not acknowledged, and says how many are there.
func appendUntilKilled(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	from, _ := strconv.Atoi(os.Getenv(childFrom))
	o, err := childOptions(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, r, err := events.Open(ctx, o)
	if err != nil || len(r.Damaged) > 0 {
		fmt.Fprintln(os.Stderr, err, r)
		return 1
	}
	go func() {
		_ = s.Run(ctx, func(err error) { fmt.Fprintln(os.Stderr, err) })
	}()
	if o.Bucket != nil {
		go depositAlways(ctx, s)
	}
	fleet := eventtest.New(9, start, time.Second)
	fleet.Take(from)
	for at := from; at < killEvents; at += killBatch {
		if err := s.Append(ctx, fleet.Take(killBatch)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(at + killBatch)
	}
	return 0
}

// TestKill kills a process that appends, seals and merges, at random moments, and starts another that delivers again what was
// not acknowledged and some before it. In the end all that was acknowledged is there once, as it was.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves out what starts processes")
	}
	rounds := 12
	if n, err := strconv.Atoi(os.Getenv(killRounds)); err == nil {
		rounds = n
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acknowledged := 0
	numbers := map[uint64]string{}
	for i := range rounds {
		acknowledged = max(acknowledged, round(t, dir, max(0, acknowledged-3*killBatch), 1+r.IntN(25), time.Duration(r.IntN(15_000))*time.Microsecond, false))
		if i%4 == 0 {
			numbers = renumbered(t, dir, numbers)
		}
	}
	renumbered(t, dir, numbers)
	s, rec := open(t, events.Options{Dir: dir})
	if len(rec.Damaged) > 0 {
		t.Fatal(rec.Damaged)
	}
	got := map[string]int{}
	for _, e := range all(t, s) {
		got[string(event.AppendJSON(nil, e))]++
	}
	for _, e := range eventtest.New(9, start, time.Second).Take(acknowledged) {
		if n := got[string(event.AppendJSON(nil, e))]; n != 1 {
			t.Errorf("event %s is there %d times", e.ID, n)
		}
	}
	total := 0
	for _, n := range got {
		total += n
	}
	if total != len(got) || total < acknowledged {
		t.Errorf("%d events, %d of them different, %d acknowledged", total, len(got), acknowledged)
	}
	t.Logf("%d rounds, %d acknowledged, %d there, %d segments", rounds, acknowledged, total, len(files(t, dir)))
}

// renumbered returns the records of a store by number, and fails if one has another number than before or if numbers have gaps.
func renumbered(t *testing.T, dir string, before map[uint64]string) map[uint64]string {
	t.Helper()
	s, _, err := events.Open(t.Context(), events.Options{Dir: dir})
	must(t, err)
	now := numbered(t, s)
	must(t, s.Close())
	for n := range uint64(len(now)) {
		if now[n+1] == "" || before[n+1] != "" && before[n+1] != now[n+1] {
			t.Fatalf("number %d of %d is %q, was %q", n+1, len(now), now[n+1], before[n+1])
		}
	}
	if len(now) < len(before) {
		t.Fatalf("%d records, before %d", len(now), len(before))
	}
	return now
}

// round runs a process until it has acknowledged some batches and a little longer, and returns how many events it has. It may be
// idle and have none, or must not.
func round(t *testing.T, dir string, from, batches int, longer time.Duration, idle bool) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFrom+"="+strconv.Itoa(from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	acknowledged := 0
	said := bufio.NewScanner(out)
	for said.Scan() {
		n, err := strconv.Atoi(said.Text())
		must(t, err)
		if acknowledged = n; batches == 0 {
			continue // what it said before it died
		}
		if batches--; batches == 0 {
			time.AfterFunc(longer, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
	if acknowledged == 0 && !idle {
		t.Fatal("the process acknowledged nothing")
	}
	return acknowledged
}
