package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// place is how far a file was read. The inode tells it from one that has its name since.
type place struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"` // of what comes next; all before it is in the record
}

// tail reads one file as it grows, and after it the one that takes its name.
type tail struct {
	path  string
	names map[string]string // of whoever writes it
	make  func() *liner
	liner *liner
	file  *os.File
	at    place // of the open file; Offset is that of the next byte to be read
	safe  int64 // up to here all is whole: the place to go on from after a restart
	rest  []byte
	skip  bool // what follows is the rest of a line that was too long
}

const readBytes = 64 << 10 // at a time

// openTail opens a file at its place. If another file has taken its name since, that of the place is looked for beside it.
func openTail(path, format string, was place) (*tail, error) {
	t := &tail{path: path, names: namesOf(path), make: func() *liner { return newLiner(format) }}
	err := t.open(path, was)
	if err != nil || was == (place{}) || t.at.Inode == was.Inode && t.at.Device == was.Device {
		return t, err
	}
	beside, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return t, nil //nolint:nilerr // then what was rotated away is lost to us
	}
	for _, entry := range beside {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if d, i := identityOf(info); d == was.Device && i == was.Inode {
			if err := t.file.Close(); err != nil {
				return nil, fmt.Errorf("closing a log: %w", err)
			}
			return t, t.open(filepath.Join(filepath.Dir(path), entry.Name()), was)
		}
	}
	return t, nil
}

func (t *tail) open(path string, was place) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("opening a log: %w", err), f.Close())
	}
	t.file, t.liner, t.rest, t.skip, t.safe = f, t.make(), nil, false, 0
	t.at.Device, t.at.Inode = identityOf(info)
	t.at.Offset = 0
	if was.Device == t.at.Device && was.Inode == t.at.Inode && was.Offset <= info.Size() {
		t.at.Offset, t.safe = was.Offset, was.Offset
	}
	return nil
}

func identityOf(info fs.FileInfo) (device, inode uint64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev), s.Ino //nolint:unconvert // its type depends on the machine
	}
	return 0, 0
}

// read returns records that have come since, and how many bytes they took. None at all: there is nothing new.
func (t *tail) read() (records []*record, n int64, err error) {
	buf := make([]byte, readBytes)
	m, err := t.file.ReadAt(buf, t.at.Offset)
	if m == 0 {
		if errors.Is(err, io.EOF) {
			return t.turn()
		}
		return nil, 0, fmt.Errorf("reading %s: %w", t.path, err)
	}
	t.at.Offset += int64(m)
	t.rest = append(t.rest, buf[:m]...)
	for {
		line, after, ended := bytes.Cut(t.rest, []byte("\n"))
		if !ended {
			break
		}
		t.rest = after
		if !t.skip {
			records = t.add(records, line)
		}
		t.skip = false
		if t.liner.whole() {
			t.safe = t.at.Offset - int64(len(t.rest))
		}
	}
	if len(t.rest) > maxLine {
		if !t.skip {
			records = t.add(records, t.rest)
		}
		t.rest, t.skip = nil, true
	}
	t.rest = bytes.Clone(t.rest)
	return records, int64(m), nil
}

func (t *tail) add(records []*record, line []byte) []*record {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return records
	}
	r := t.liner.line(line)
	if r == nil {
		return records
	}
	for name, value := range t.names {
		r.set(name, value)
	}
	return append(records, r)
}

// turn is called at the end of a file: it may have been cut back to its beginning, or another may have its name.
func (t *tail) turn() (records []*record, n int64, err error) {
	own, err := t.file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", t.path, err)
	}
	if own.Size() < t.at.Offset {
		t.at.Offset, t.safe, t.rest, t.skip, t.liner = 0, 0, nil, false, t.make()
		return nil, 0, nil
	}
	other, err := os.Stat(t.path)
	if err != nil {
		return nil, 0, nil //nolint:nilerr // it was moved away, and the next one is not there yet
	}
	if d, i := identityOf(other); d == t.at.Device && i == t.at.Inode {
		return nil, 0, nil
	}
	if len(t.rest) > 0 && !t.skip { // nobody ends this line any more
		records = t.add(nil, t.rest)
	}
	if err := t.file.Close(); err != nil {
		return records, 0, fmt.Errorf("closing a log: %w", err)
	}
	return records, int64(len(t.rest)), t.open(t.path, place{})
}
