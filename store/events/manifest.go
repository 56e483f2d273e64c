package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/palisade-security/palisade/store/segment"
)

// manifest says which segments are the store, and up to where in the log events are in them. It is replaced as a whole, so
// that sealing, merging and deleting happen at one moment or not at all.
type manifest struct {
	Sealed   uint64  `json:"sealed"` // position in the log
	Number   uint64  `json:"number"` // of the next event behind that position
	Next     uint64  `json:"next"`   // number of the next segment
	Segments []entry `json:"segments"`

	// Kept is from which time on events are kept, nanoseconds since 1970, by class: older ones were deleted and are not taken again.
	Kept map[string]int64 `json:"kept,omitempty"`

	// Deleted is what Retain has deleted since the beginning, by class.
	Deleted map[string]Deleted `json:"deleted,omitempty"`

	Bucket deposit `json:"bucket,omitzero"`
}

// Deleted is events of a class that are not there any more.
type Deleted struct {
	Count       uint64 `json:"count"`
	First, Last uint64 // numbers; between them lie those of other events, too
}

// and adds others of the class.
func (d Deleted) and(more Deleted) Deleted {
	if d.Count == 0 {
		return more
	}
	return Deleted{d.Count + more.Count, min(d.First, more.First), max(d.Last, more.Last)}
}

// entry is a segment of the store.
type entry struct {
	Class  string `json:"class"`
	Object string `json:"object,omitempty"` // that is the same in the bucket; empty: there is none
	segment.Info
}

const manifestName = "manifest.json"

// readManifest returns nil if there is none.
func readManifest(dir string) (*manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // a store that begins
	}
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	m := &manifest{Number: 1}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w; restore it from a backup of the directory", filepath.Join(dir, manifestName), err)
	}
	return m, nil
}

// write replaces the manifest on disk.
func (m *manifest) write(dir string) error {
	if err := replaceJSON(dir, manifestName, m); err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	return nil
}

// replaceJSON replaces a file as a whole, durably.
func replaceJSON(dir, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(dir, name), b)
}

// writeDurably replaces a file as a whole, and returns when it would outlive the loss of power.
func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = os.Rename(path+".tmp", path); err == nil {
			err = segment.SyncDir(filepath.Dir(path))
		}
	}
	return err
}

// removeOthers deletes what a process left behind that died while it wrote a segment or after it replaced some.
func removeOthers(dir string, m *manifest) error {
	wanted := map[string]bool{}
	for i := range m.Segments {
		wanted[m.Segments[i].Name] = true
		wanted[m.Segments[i].Name+tailEnding] = m.Segments[i].Object != ""
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", err)
	}
	for _, f := range files {
		if !wanted[f.Name()] && f.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("removing what no manifest names: %w", err)
			}
		}
	}
	return nil
}

// sealed is a segment of the store that queries may be reading.
type sealed struct {
	entry
	segment *segment.Segment // nil if it is damaged
	err     error
	judged  string       // by what was found that all of it is spared although it is old (spare.names); owned by who holds keeping
	unread  bool         // so judged since it was out of reach; the same
	users   atomic.Int64 // the store is one
	away    bool         // its pages are in the bucket alone
}

// drop says that one user less reads the segment; after the last it is closed.
func (s *sealed) drop() error {
	if s.users.Add(-1) == 0 && s.segment != nil {
		return s.segment.Close()
	}
	return nil
}
