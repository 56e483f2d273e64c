package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/store/journal"
)

// position is how far records are handed on. The sum tells whether the journal is still the one that it was.
type position struct {
	Last uint64 `json:"last"` // number of the last record that is
	Sum  string `json:"sum"`  // of its bytes
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:16])
}

// begin returns the number of the record to begin with; 0: the oldest. If in doubt it is that: what is there already is known
// by its id.
func (f *Follower) begin() uint64 {
	var p position
	data, err := os.ReadFile(f.Position)
	if err != nil || json.Unmarshal(data, &p) != nil || p.Last == 0 {
		return 0
	}
	for r, err := range journal.Read(f.Journal, p.Last) {
		switch {
		case err != nil: // it has been deleted since, or cannot be read
			return p.Last + 1
		case r.Seq == p.Last && sum(r.Data) == p.Sum:
			return p.Last + 1
		}
		break
	}
	return 0 // the journal has begun anew
}

// keep notes that all up to a record are handed on. It is on the disk when keep returns if somebody is told (Kept), who may have the journal delete them: a
// power loss that undid it would make them seem lost.
func (f *Follower) keep(last *journal.Record) error {
	data, err := json.Marshal(position{last.Seq, sum(last.Data)})
	if err != nil {
		return fmt.Errorf("writing the position: %w", err)
	}
	fresh := f.Position + ".new"
	if err = os.WriteFile(fresh, data, 0o600); err == nil {
		err = f.sync(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, f.Position)
	}
	if err == nil {
		err = f.sync(filepath.Dir(f.Position))
	}
	if err != nil {
		return fmt.Errorf("writing the position: %w", err)
	}
	return nil
}

// sync makes a file or a folder durable, if somebody is told.
func (f *Follower) sync(path string) error {
	if f.Kept == nil {
		return nil
	}
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
