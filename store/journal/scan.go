package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// DamageError is a place in a segment where an intact record should be and is not.
type DamageError struct {
	Segment string // file name
	Offset  int64
	Seq     uint64 // the record that should be there
	Found   string // what is there instead
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("journal segment %s is damaged at byte %d (record %d): %s", e.Segment, e.Offset, e.Seq, e.Found)
}

// GapError says that records are not in the journal any more: deleted for space, or lost with a damaged
// segment.
type GapError struct{ From, To uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("journal records %d to %d are gone", e.From, e.To)
}

// errEnd is the end of what a segment holds now; a writer may add to it.
var errEnd = errors.New("end of segment")

// scanner reads the records of one segment in order.
type scanner struct {
	file  *os.File
	name  string
	first uint64 // by the file name
	next  uint64 // the record at off
	off   int64  // start of the next frame; 0: the segment's head is still to be read
	size  int64  // of the file when last looked at
	br    *bufio.Reader
	skip  []byte // room for records that nobody wants
}

func newScanner(f *os.File, first uint64) *scanner {
	s := &scanner{file: f, name: filepath.Base(f.Name()), first: first, next: first, br: bufio.NewReaderSize(nil, 64<<10)}
	s.br.Reset(io.NewSectionReader(f, 0, 1<<62))
	return s
}

// refresh looks at the file again, after errEnd or damage.
func (s *scanner) refresh() error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("reading segment: %w", err)
	}
	s.size = info.Size()
	if s.size < s.off { // cut by a writer that failed: read again what is left
		s.off, s.next = 0, s.first
	}
	s.br.Reset(io.NewSectionReader(s.file, s.off, 1<<62))
	return nil
}

// record returns the next record with a sequence number of at least from, having checked those before it.
// The error is errEnd, a *DamageError, or that of the file.
func (s *scanner) record(from uint64) (Record, error) {
	if s.off == 0 {
		if err := s.head(); err != nil {
			return Record{}, err
		}
	}
	for {
		data, err := s.frame(s.next >= from)
		if err != nil {
			return Record{}, err
		}
		seq := s.next
		s.next++
		s.off += frameHead + int64(len(data))
		if seq >= from {
			return Record{Seq: seq, Data: data}, nil
		}
	}
}

func (s *scanner) head() error {
	var got [segmentHead]byte
	if s.size < int64(len(got)) {
		return errEnd
	}
	if err := s.read(got[:]); err != nil {
		return err
	}
	if want := appendSegmentHead(nil, s.first); !bytes.Equal(got[:], want) {
		return s.damage("not the head of this segment")
	}
	s.off = int64(len(got))
	return nil
}

// frame reads one frame at s.off; keep says that its payload will be handed out.
func (s *scanner) frame(keep bool) ([]byte, error) {
	rest := s.size - s.off - frameHead
	if rest < 0 {
		return nil, errEnd
	}
	var b [frameHead]byte
	if err := s.read(b[:]); err != nil {
		return nil, err
	}
	h := parseFrame(b[:])
	switch {
	case h.seq != s.next:
		return nil, s.damage("another sequence number")
	case h.length > MaxRecordLimit:
		return nil, s.damage("an impossible length")
	case int64(h.length) > rest:
		return nil, errEnd
	}
	data := s.room(int(h.length), keep)
	if err := s.read(data); err != nil {
		return nil, err
	}
	if !h.intact(data) {
		return nil, s.damage("a record that fails its checksum")
	}
	return data, nil
}

func (s *scanner) room(n int, keep bool) []byte {
	if keep {
		return make([]byte, n)
	}
	if cap(s.skip) < n {
		s.skip = make([]byte, n)
	}
	return s.skip[:n]
}

func (s *scanner) read(b []byte) error {
	_, err := io.ReadFull(s.br, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnd // cut since we looked at its size
	}
	if err != nil {
		return fmt.Errorf("reading segment: %w", err)
	}
	return nil
}

func (s *scanner) damage(found string) error {
	return &DamageError{Segment: s.name, Offset: s.off, Seq: s.next, Found: found}
}
