package journal_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/powertest"
	"github.com/palisade-security/palisade/store/journal"
)

// TestPowerLoss takes the power from a writer, and looks for the acknowledged records on what its disk had then.
func TestPowerLoss(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			disk := powertest.New(t)
			cmd, lines, _ := child(t, "write", filepath.Join(disk.Dir, "log"), round+1)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			disk.Cut(cmd.Process, time.Duration(100+37*round)*time.Millisecond)
			acked := map[uint64]uint64{}
			acknowledged(t, lines, acked)
			_ = cmd.Wait() // it was killed
			log := filepath.Join(disk.After(t), "log")
			j, rec := open(t, journal.Options{Dir: log})
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			checkRecords(t, log, 1, acked)
			t.Logf("%d acknowledged, %d found, %d bytes cut, damage %v", len(acked), rec.Next-1, rec.Cut, rec.Damage)
		})
	}
}
