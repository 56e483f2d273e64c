package audit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

const (
	childDir  = "PALISADE_TEST_AUDIT"
	childFrom = "PALISADE_TEST_AUDIT_FROM"
	killBatch = 40
	killMost  = 100_000
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := recordUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// recordUntilKilled appends events with the ledger behind them, and says how many are acknowledged.
func recordUntilKilled(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		return err
	}
	s, _, err := events.Open(ctx, events.Options{Dir: filepath.Join(dir, "store"), SealRows: 300, SealAge: 20 * time.Millisecond, MergeRows: 2000})
	if err != nil {
		return err
	}
	k, err := childKeeper(ctx, dir, s)
	if err != nil {
		return err
	}
	for _, run := range []func() error{
		func() error { return s.Run(ctx, func(err error) { fmt.Fprintln(os.Stderr, err) }) },
		func() error { return k.Run(ctx) },
	} {
		go func() {
			if err := run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	fleet := eventtest.New(9, start, time.Second)
	fleet.Take(from)
	for at := from; at < killMost; at += killBatch {
		if err := s.Append(ctx, fleet.Take(killBatch)); err != nil {
			return err
		}
		fmt.Println(at + killBatch)
	}
	return nil
}

func childKeeper(ctx context.Context, dir string, s *events.Store) (*Keeper, error) {
	local, err := keyring.LocalKeeper(filepath.Join(dir, "keys"))
	if err != nil {
		return nil, err
	}
	ring, err := keyring.OpenRing(ctx, filepath.Join(dir, "ring"), local)
	if err != nil {
		return nil, err
	}
	key, err := ring.Ed25519(ctx, "ledger")
	if err != nil {
		return nil, err
	}
	signer, public, err := ledger.NewSigner("shop.example/ledger", key)
	return &Keeper{
		Ledger: Folder(filepath.Join(dir, "ledger"), signer, public), Log: slog.New(slog.DiscardHandler),
		Open:  func(context.Context) (Source, error) { return s, nil },
		Alarm: func(_ context.Context, text string) { fmt.Fprintln(os.Stderr, "ALARM", text) },
	}, err
}

// TestKill kills a process at random moments while events flow into store and ledger, and starts another. After each the ledger
// verifies; in the end it tells of all that was acknowledged.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves out what starts processes")
	}
	dir := t.TempDir()
	at := Place{Ledger: filepath.Join(dir, "ledger"), Store: filepath.Join(dir, "store")}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acknowledged, largest := 0, uint64(0)
	for range 20 {
		acknowledged = max(acknowledged, round(t, dir, max(0, acknowledged-3*killBatch), 1+r.IntN(12), time.Duration(r.IntN(400))*time.Millisecond))
		if _, err := os.Stat(filepath.Join(at.Ledger, checkpointFile)); err != nil {
			continue // it was killed before there was one
		}
		v, err := VerifyStore(t.Context(), at, time.Time{}, &Trust{})
		must(t, err)
		if !v.Sound() || v.Checkpoint.Size < largest {
			t.Fatalf("%+v, before %d", v, largest)
		}
		largest = v.Checkpoint.Size
	}
	p := &place{Place: at}
	s := p.open(t, events.Options{})
	k, err := childKeeper(t.Context(), dir, s)
	must(t, err)
	p.keeper = k
	k.Alarm = func(_ context.Context, text string) { t.Error(text) }
	stop := p.running(t, s)
	next, err := s.Next(t.Context())
	must(t, err)
	p.told(t, next-1)
	stop()
	there := map[string]bool{}
	for r, err := range s.Records(t.Context(), 1) {
		must(t, err)
		there[string(r.JSON())] = true
	}
	must(t, s.Close())
	for _, e := range eventtest.New(9, start, time.Second).Take(acknowledged) {
		if !there[string(event.AppendJSON(nil, e))] {
			t.Errorf("event %s was acknowledged and is not there", e.ID)
		}
	}
	v := p.verify(t, &Trust{})
	if !v.Sound() || v.Verified != next-1 || len(there) < acknowledged {
		t.Errorf("%+v", v)
	}
	t.Logf("%d acknowledged, %d in the ledger, %d of them before the last start", acknowledged, v.Verified, largest)
}

// round runs a process until it has acknowledged some batches and a little longer, and returns how many events it has.
func round(t *testing.T, dir string, from, batches int, longer time.Duration) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFrom+"="+strconv.Itoa(from))
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	acknowledged := 0
	for said := bufio.NewScanner(out); said.Scan(); {
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
	if acknowledged == 0 || bytes.Contains(messages.Bytes(), []byte("ALARM")) {
		t.Fatal("acknowledged", acknowledged, messages.String())
	}
	return acknowledged
}
