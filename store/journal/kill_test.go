package journal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/journal"
)

// The test binary is also the writer that gets killed: these variables make it one.
const (
	childMode   = "PALISADE_JOURNAL_CHILD"  // "write", "full"
	childDir    = "PALISADE_JOURNAL_DIR"    //
	childSeed   = "PALISADE_JOURNAL_SEED"   //
	childLimit  = "PALISADE_JOURNAL_LIMIT"  // RLIMIT_FSIZE in bytes
	killRounds  = "PALISADE_JOURNAL_ROUNDS" // raises the number of rounds of TestKill
	rounds      = 200
	killWriters = 8
	childBytes  = 300 << 10 // segment size: many rotations
	large       = 1 << 22   // in an id: a record that takes a while to write, so that kills tear some
	childLosses = 3         // exit code for a journal that failed
)

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "write":
		os.Exit(writeUntilKilled(killWriters, 0))
	case "full":
		os.Exit(writeUntilFull())
	}
	os.Exit(m.Run())
}

// payload is a record whose every byte follows from its id.
func payload(id uint64) []byte {
	r := rand.New(rand.NewPCG(id, 7))
	b := binary.LittleEndian.AppendUint64(nil, id)
	words := r.IntN(60)
	if id&large != 0 {
		words = 20000
	}
	for range words {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b
}

func intact(data []byte) (uint64, bool) {
	if len(data) < 8 {
		return 0, false
	}
	id := binary.LittleEndian.Uint64(data)
	return id, bytes.Equal(data, payload(id))
}

// writeUntilKilled appends from several goroutines and offers from one, and prints "sequence id" for each
// acknowledged record, in one write each. It returns when the journal fails.
func writeUntilKilled(writers int, seed uint64) int {
	ctx := context.Background()
	if seed == 0 {
		seed, _ = strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	}
	j, _, err := journal.Open(journal.Options{Dir: os.Getenv(childDir), SegmentBytes: childBytes})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := uint64(0); ; i++ {
				id := seed<<32 | uint64(w)<<24 | i
				offer := id | 1<<23
				if writers == killWriters && i%8 == 7 {
					offer |= large
				}
				if j.Offer(payload(offer)); j.Err() != nil {
					return
				}
				seq, err := j.Append(ctx, payload(id))
				if err != nil {
					return
				}
				if _, err := fmt.Fprintf(os.Stdout, "%d %d\n", seq, id); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	fmt.Fprintln(os.Stderr, j.Err())
	if j.Offer([]byte("x")) || j.Close() == nil {
		return 1
	}
	return childLosses
}

func child(t *testing.T, mode, dir string, seed int) (*exec.Cmd, *bufio.Scanner, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childMode+"="+mode, childDir+"="+dir, childSeed+"="+strconv.Itoa(seed))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, bufio.NewScanner(out), &stderr
}

// acknowledged reads the lines of a child; it drops what is no whole line.
func acknowledged(t *testing.T, lines *bufio.Scanner, acked map[uint64]uint64) {
	t.Helper()
	for lines.Scan() {
		var seq, id uint64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &seq, &id); err != nil {
			t.Errorf("child said %q: %v", lines.Text(), err)
			return
		}
		acked[seq] = id
	}
}

// checkRecords reads from a sequence number on and returns the one after the last record.
func checkRecords(t *testing.T, dir string, from uint64, acked map[uint64]uint64) uint64 {
	t.Helper()
	next := from
	for r, err := range journal.Read(dir, from) {
		if err != nil {
			t.Fatal(err)
		}
		id, ok := intact(r.Data)
		if !ok || r.Seq != next {
			t.Fatalf("record %d after %d, intact %v", r.Seq, next-1, ok)
		}
		if want, ok := acked[r.Seq]; ok && want != id {
			t.Fatalf("record %d is %x, acknowledged was %x", r.Seq, id, want)
		}
		next++
	}
	for seq := range acked {
		if seq >= next {
			t.Fatalf("acknowledged record %d is lost; the last is %d", seq, next-1)
		}
	}
	return next
}

// TestKill kills a writer at random moments, again and again on the same journal.
func TestKill(t *testing.T) {
	n := rounds
	if s := os.Getenv(killRounds); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		n = 10
	}
	dir := t.TempDir()
	all := map[uint64]uint64{}
	from, torn, total := uint64(1), 0, 0
	for round := range n {
		acked := map[uint64]uint64{}
		cmd, lines, stderr := child(t, "write", dir, round+1)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment counts from the first acknowledgement, or there would be nothing to lose.
		if lines.Scan() {
			var seq, id uint64
			if _, err := fmt.Sscanf(lines.Text(), "%d %d", &seq, &id); err == nil {
				acked[seq] = id
			}
		}
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		acknowledged(t, lines, acked)
		err := cmd.Wait()
		kill.Stop()
		if status := new(exec.ExitError); !errors.As(err, &status) || status.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: child ended with %v: %s", round, err, stderr)
		}
		j, rec := open(t, journal.Options{Dir: dir, SegmentBytes: childBytes})
		if rec.Damage != nil {
			t.Fatalf("round %d: %v", round, rec.Damage)
		}
		if rec.Cut > 0 {
			torn++
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		from = checkRecords(t, dir, from, acked)
		if rec.Next != from {
			t.Fatalf("round %d: next is %d, read up to %d", round, rec.Next, from)
		}
		total += len(acked)
		maps.Copy(all, acked)
	}
	checkRecords(t, dir, 1, all)
	t.Logf("%d rounds, %d acknowledged of %d records, none lost, %d torn tails, %d segments",
		n, total, from-1, torn, len(segments(t, dir)))
}

// writeUntilFull is a writer whose files may not grow beyond a limit.
func writeUntilFull() int {
	if s := os.Getenv(childLimit); s != "" {
		limit, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 1
		}
		signal.Ignore(syscall.SIGXFSZ) // then write(2) fails with EFBIG
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return writeUntilKilled(4, 1)
}

func TestFileTooLarge(t *testing.T) {
	t.Setenv(childLimit, "20011")
	fill(t, t.TempDir(), "file too large")
}

// TestDiskFull runs on a small file system of its own, where the tests may mount one.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=200k"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	fill(t, filepath.Join(dir, "log"), "no space left")
}

// fill lets a child write until its journal fails, and checks that nothing acknowledged is lost and that
// the journal goes on once there is room.
func fill(t *testing.T, dir, cause string) {
	t.Helper()
	cmd, lines, stderr := child(t, "full", dir, 1)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[uint64]uint64{}
	acknowledged(t, lines, acked)
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != childLosses || !strings.Contains(stderr.String(), "journal failed") ||
		!strings.Contains(stderr.String(), cause) || len(acked) == 0 {
		t.Fatalf("child ended with %v after %d records: %s", err, len(acked), stderr)
	}
	next := checkRecords(t, dir, 1, acked)
	if old := segments(t, dir); len(old) > 1 {
		if err := os.Remove(old[0]); err != nil {
			t.Fatal(err)
		}
	}
	j, rec := open(t, journal.Options{Dir: dir})
	if rec.Damage != nil || rec.Next < next {
		t.Errorf("recovery %+v, read up to %d", rec, next)
	}
	mustAppend(t, j, "after")
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
