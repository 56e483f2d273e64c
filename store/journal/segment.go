package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	segmentSuffix = ".seg"
	segmentDigits = 20
	// maxSequence keeps the arithmetic on sequence numbers far from overflow.
	maxSequence = 1 << 62
)

// segment is a file of the journal, by the sequence number of its first record.
type segment struct {
	first uint64
	size  int64
}

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", segmentDigits, first, segmentSuffix))
}

// segmentFirst reads a file name. Files with other names are none of the journal's business.
func segmentFirst(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && n < maxSequence
}

// listSegments returns the segments in dir, oldest first.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir) // sorted by name, and so by sequence
	if err != nil {
		return nil, fmt.Errorf("listing segments: %w", err)
	}
	var segs []segment
	for _, e := range entries {
		first, ok := segmentFirst(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("listing segments: %w", err)
		}
		segs = append(segs, segment{first: first, size: info.Size()})
	}
	return segs, nil
}

// tail is the segment being written. Everything below size is on the disk.
type tail struct {
	dir   string
	file  *os.File
	first uint64
	size  int64
}

// createTail makes a new segment, durable with its directory entry.
func createTail(dir string, lock *os.File, first uint64) (tail, error) {
	path := segmentPath(dir, first)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return tail{}, fmt.Errorf("creating segment: %w", err)
	}
	t := tail{dir: dir, file: f, first: first}
	if err := t.begin(); err != nil {
		return tail{}, errors.Join(err, f.Close())
	}
	if err := lock.Sync(); err != nil {
		return tail{}, errors.Join(fmt.Errorf("syncing journal directory: %w", err), f.Close())
	}
	return t, nil
}

// begin writes the head of an empty segment.
func (t *tail) begin() error { return t.write(appendSegmentHead(nil, t.first)) }

// write adds bytes and returns when they are on the disk.
func (t *tail) write(b []byte) error {
	if _, err := t.file.WriteAt(b, t.size); err != nil {
		return fmt.Errorf("writing segment: %w", err)
	}
	if err := t.file.Sync(); err != nil {
		return fmt.Errorf("syncing segment: %w", err)
	}
	t.size += int64(len(b))
	return nil
}
