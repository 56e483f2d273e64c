package table_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/table"
)

// childFile makes the test binary the writer that gets killed.
const childFile = "PALISADE_TABLE_CHILD"

// writeUntilKilled makes blobs from several goroutines and prints the name of each when it is acknowledged.
func writeUntilKilled() int {
	ctx := context.Background()
	s, err := table.Open(ctx, "sqlite:"+os.Getenv(childFile))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	start := time.Now().UnixNano()
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", start, w, i)
				if err := s.Write(ctx, func(tx *table.Tx) error {
					if _, err := tx.AddAct(ctx, table.Act{Who: name}); err != nil {
						return err
					}
					return tx.SaveBlob(ctx, name, []byte(strings.Repeat(name, i%100)), 0)
				}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				_, _ = os.Stdout.WriteString(name + "\n") // one write: a line is whole or absent
			}
		})
	}
	group.Wait()
	return 1
}

// TestKill kills a writer again and again: what it acknowledged is there, whole, and each transaction is there in all
// its parts or in none.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	path := filepath.Join(t.TempDir(), "tables.db")
	acknowledged := map[string]bool{}
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFile+"="+path)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewReader(out)
		for range 5 + 10*round { // at another moment each time
			line, err := lines.ReadString('\n')
			must(t, err)
			acknowledged[strings.TrimSpace(line)] = true
		}
		must(t, cmd.Process.Kill())
		rest, err := io.ReadAll(lines)
		must(t, err)
		for line := range strings.Lines(string(rest)) {
			if name, whole := strings.CutSuffix(line, "\n"); whole {
				acknowledged[name] = true
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
	}
	s := open(t, "sqlite:"+path)
	ctx := soon(t)
	recorded := map[string]bool{}
	read(t, s, func(tx *table.Tx) error {
		acts, err := tx.Acts(ctx, 0, 1<<30)
		for _, a := range acts {
			recorded[a.Who] = true
			if _, _, err := tx.Blob(ctx, a.Who); err != nil {
				t.Errorf("an act without what was done: %v", err)
			}
		}
		return err
	})
	for name := range acknowledged {
		if !recorded[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	t.Logf("%d acknowledged, %d found", len(acknowledged), len(recorded))
}

// TestPostgresCrash crashes the server under writers. They go on when it is back; what was acknowledged is there, and
// what was not known is told so.
func TestPostgresCrash(t *testing.T) {
	location := postgres.Database(t)
	s := open(t, location)
	ctx := soon(t)
	var mu sync.Mutex
	acknowledged, uncertain := map[string]bool{}, 0
	stop := make(chan struct{})
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprint(w, "-", i)
				err := s.Write(ctx, func(tx *table.Tx) error { return tx.SaveBlob(ctx, name, []byte(name), 0) })
				mu.Lock()
				switch {
				case err == nil:
					acknowledged[name] = true
				case errors.Is(err, table.ErrUncertain):
					uncertain++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 3 {
		for n := count(); count() < n+50 && !t.Failed(); {
			<-tick.C
		}
		postgres.Kill()
		must(t, postgres.Run())
	}
	for n := count(); count() < n+50 && !t.Failed(); {
		<-tick.C
	}
	close(stop)
	group.Wait()
	read(t, s, func(tx *table.Tx) error {
		for name := range acknowledged {
			if _, _, err := tx.Blob(ctx, name); err != nil {
				t.Errorf("%s was acknowledged: %v", name, err)
			}
		}
		return nil
	})
	t.Logf("%d acknowledged, %d uncertain", len(acknowledged), uncertain)
}
