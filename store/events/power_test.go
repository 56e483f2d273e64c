package events_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/powertest"
	"github.com/palisade-security/palisade/store/events"
)

// TestPowerLoss takes the power from a process that appends, seals and merges. On what its disk had then all that was acknowledged is
// there once, as it was, with numbers without gaps; and the store goes on there.
func TestPowerLoss(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			disk := powertest.New(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
			cmd.Env, cmd.Stderr = append(os.Environ(), childDir+"="+filepath.Join(disk.Dir, "store")), os.Stderr
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			disk.Cut(cmd.Process, time.Duration(300+137*round)*time.Millisecond)
			acknowledged := 0
			for said := bufio.NewScanner(out); said.Scan(); {
				acknowledged, err = strconv.Atoi(said.Text())
				must(t, err)
			}
			_ = cmd.Wait() // it was killed
			dir := filepath.Join(disk.After(t), "store")
			renumbered(t, dir, nil)
			s, rec, err := events.Open(t.Context(), events.Options{Dir: dir})
			must(t, err)
			got := map[string]int{}
			for _, e := range all(t, s) {
				got[string(event.AppendJSON(nil, e))]++
			}
			given := eventtest.New(9, start, time.Second).Take(acknowledged + 3*killBatch)
			for _, e := range given[:acknowledged] {
				if n := got[string(event.AppendJSON(nil, e))]; n != 1 {
					t.Errorf("event %s is there %d times", e.ID, n)
				}
			}
			must(t, s.Append(t.Context(), given[max(0, acknowledged-killBatch):]))
			same(t, s, given)
			must(t, s.Close())
			t.Logf("%d acknowledged, %d there, %d replayed, %d segments, damage %v", acknowledged, len(got), rec.Replayed, len(files(t, dir)), rec.Damaged)
			if len(rec.Damaged) > 0 || acknowledged == 0 {
				t.Fail()
			}
		})
	}
}
