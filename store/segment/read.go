package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// DamageError is a file that is not what was sealed.
type DamageError struct {
	Name  string // of the file
	Found string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %s is damaged: %s", e.Name, e.Found)
}

// AwayError is a file that cannot be read now, which says nothing of what is in it.
type AwayError struct {
	Name string // of the file
	Err  error
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("segment %s cannot be read now: %v", e.Name, e.Err)
}

func (e *AwayError) Unwrap() error { return e.Err }

// File is where a segment lies. ReadAt is safe for concurrent use; it may fail with an *AwayError.
type File interface {
	io.ReaderAt
	io.Closer
}

// Segment is a sealed file. Its methods are safe for concurrent use.
type Segment struct {
	Info
	file   File
	groups []*group
	rooms  sync.Pool // of *[]byte, into which columns are read
}

// Open opens a sealed segment and checks its size and all of it but the columns, which are checked as they are read. The error
// is a *DamageError if it is not as it was sealed.
func Open(dir string, info *Info) (*Segment, error) {
	f, err := os.Open(filepath.Join(dir, info.Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &DamageError{info.Name, "the file is gone"}
	}
	if err != nil {
		return nil, fmt.Errorf("opening segment: %w", err)
	}
	stat, err := f.Stat()
	if err == nil && stat.Size() != info.Bytes {
		err = &DamageError{info.Name, fmt.Sprintf("it has %d bytes of %d", stat.Size(), info.Bytes)}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return OpenFile(f, info)
}

// OpenFile is Open for a segment that lies elsewhere, and closes f if it fails.
func OpenFile(f File, info *Info) (_ *Segment, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	s := &Segment{Info: *info, file: f}
	if err := s.check(); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Bytes, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, s.damage(err)
	}
	return s, s.groupsOf(file)
}

// check compares the tail.
func (s *Segment) check() error {
	got, err := sum(s.file, s.Index, s.Bytes)
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", s.Name, err)
	}
	if got != s.Tail {
		return &DamageError{s.Name, fmt.Sprintf("the index behind byte %d has another checksum", s.Index)}
	}
	return nil
}

// Ending reads what is not pages: the bytes from Index on.
func (s *Segment) Ending() ([]byte, error) {
	b := make([]byte, s.Bytes-s.Index)
	if _, err := s.file.ReadAt(b, s.Index); err != nil {
		return nil, fmt.Errorf("reading segment %s: %w", s.Name, err)
	}
	if crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != s.Tail {
		return nil, &DamageError{s.Name, fmt.Sprintf("the index behind byte %d has another checksum", s.Index)}
	}
	return b, nil
}

// Verify reads all of the file. The error is a *DamageError if it is not as it was sealed.
func (s *Segment) Verify() error {
	if err := s.check(); err != nil {
		return err
	}
	got, err := sum(s.file, 0, s.Bytes)
	if err != nil {
		return fmt.Errorf("reading segment %s: %w", s.Name, err)
	}
	if got != s.Sum {
		return &DamageError{s.Name, "it has another checksum"}
	}
	return nil
}

// damage is an error of the format, or of the disk or what else the file lies on.
func (s *Segment) damage(err error) error {
	_, disk := errors.AsType[*os.PathError](err)
	if _, away := errors.AsType[*AwayError](err); away || disk {
		return fmt.Errorf("reading segment %s: %w", s.Name, err)
	}
	return &DamageError{s.Name, err.Error()}
}

func (s *Segment) groupsOf(file *parquet.File) error {
	if v, _ := file.Lookup("palisade.form"); v != form {
		return fmt.Errorf("opening segment %s: its columns have the form %q, this program reads %q", s.Name, v, form)
	}
	var names []string
	for _, path := range file.Schema().Columns() {
		names = append(names, path[0])
	}
	for i := range saidColumn + 1 {
		if i >= len(names) || names[i] != nameOf(i) {
			return &DamageError{s.Name, fmt.Sprintf("column %d of %d is not %s", i, len(names), nameOf(i))}
		}
	}
	total := int64(0)
	meta := file.Metadata().RowGroups
	sums := 4 * (saidColumn + 1) // of each row group
	if len(s.Sums) != sums*len(meta) || len(s.Blanks) != len(meta)*blankBytes() {
		return &DamageError{s.Name, fmt.Sprintf("it has %d row groups; checksums are known of %d columns of %d each", len(meta), len(s.Sums)/4, sums/4)}
	}
	for i, rg := range file.RowGroups() {
		g := &group{segment: s, n: int(rg.NumRows()), meta: meta[i].Columns, sums: s.Sums[i*sums:][:sums], blanks: s.Blanks[i*blankBytes():][:blankBytes()]}
		for _, c := range rg.ColumnChunks() {
			chunk, ok := c.(*parquet.FileColumnChunk)
			if !ok {
				return &DamageError{s.Name, "a column that is not in the file"}
			}
			g.chunks = append(g.chunks, chunk)
		}
		if err := g.bound(); err != nil {
			return err
		}
		s.groups = append(s.groups, g)
		total += rg.NumRows()
	}
	if total != s.Rows {
		return &DamageError{s.Name, fmt.Sprintf("it has %d rows of %d", total, s.Rows)}
	}
	return nil
}

// Chunks returns the parts of the segment, in order of time.
func (s *Segment) Chunks() []Chunk {
	out := make([]Chunk, len(s.groups))
	for i, g := range s.groups {
		out[i] = g
	}
	return out
}

// Close frees the file.
func (s *Segment) Close() error { return s.file.Close() }

// group is a row group of a file.
type group struct {
	segment     *Segment
	n           int
	first, last int64
	numbers     [2]uint64 // the lowest and the highest
	chunks      []*parquet.FileColumnChunk
	meta        []format.ColumnChunk
	sums        []byte // of the columns, as in Info
	blanks      []byte // the same
}

// bound finds the times and the numbers of the group.
func (g *group) bound() error {
	first, last, ok := g.chunks[timeColumn].Bounds()
	if !ok {
		return &DamageError{g.segment.Name, "a row group without bounds of time"}
	}
	g.first, g.last = first.Int64(), last.Int64()
	lowest, highest, ok := g.chunks[numberColumn].Bounds()
	if !ok || lowest.Int64() < 0 {
		return &DamageError{g.segment.Name, "a row group without bounds of its numbers"}
	}
	g.numbers = [2]uint64{lowest.Uint64(), highest.Uint64()}
	return nil
}

// Rows is how many events there are.
func (g *group) Rows() int { return g.n }

// Bounds are the first and last time.
func (g *group) Bounds() (first, last int64) { return g.first, g.last }

// Numbers are the lowest and the highest number.
func (g *group) Numbers() (lowest, highest uint64) { return g.numbers[0], g.numbers[1] }

func (g *group) lacks(c int, value string) (bool, error) {
	filter := g.chunks[c].BloomFilter()
	if filter == nil {
		return false, nil
	}
	has, err := filter.Check(parquet.ByteArrayValue([]byte(value)))
	if err != nil {
		return false, g.segment.damage(err)
	}
	return !has, nil
}

func (g *group) blank(c int) bool { return g.blanks[c/8]&(1<<(c%8)) != 0 }

func (g *group) load(c int) (*series, error) {
	if g.blank(c) {
		return columns[c].none(g.n), nil
	}
	r := &reader{kind: columns[c].kind, expect: g.n}
	if err := g.read(c, r.all); err != nil {
		return nil, err
	}
	if r.n != g.n {
		return nil, g.damage(c, fmt.Errorf("%d rows of %d", r.n, g.n))
	}
	return &r.out, nil
}

func (g *group) pick(c int, rows []uint32) (*series, error) {
	if len(rows) > 0 && int(rows[len(rows)-1]) >= g.n || !slices.IsSorted(rows) {
		return nil, fmt.Errorf("reading segment %s: rows that are not there", g.segment.Name)
	}
	if g.blank(c) {
		return columns[c].none(len(rows)), nil
	}
	if _, err := g.chunks[c].OffsetIndex(); err != nil { // reads it, so that pages can be sought
		return nil, g.damage(c, err)
	}
	r := &reader{kind: columns[c].kind}
	err := g.read(c, func(p parquet.Pages) error { return r.some(p, rows) })
	return &r.out, err
}

// read reads the bytes of a column, compares their checksum and hands out the pages. Those have checksums of their own, but
// their heads do not.
func (g *group) read(c int, with func(parquet.Pages) error) error {
	from, to := extent(&g.meta[c].MetaData)
	if from < 0 || to < from || to > g.segment.Bytes {
		return g.damage(c, errors.New("its bytes are not in the file"))
	}
	room, _ := g.segment.rooms.Get().(*[]byte)
	if room == nil {
		room = new([]byte)
	}
	defer g.segment.rooms.Put(room) // nothing of it is kept
	*room = slices.Grow((*room)[:0], int(to-from))
	b := (*room)[:to-from]
	if _, err := g.segment.file.ReadAt(b, from); err != nil {
		return g.damage(c, err)
	}
	if crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(g.sums[4*c:]) {
		return g.damage(c, fmt.Errorf("bytes %d to %d have another checksum", from, to))
	}
	pages := g.chunks[c].PagesFrom(&part{bytes.NewReader(b), from})
	if err := errors.Join(with(pages), pages.Close()); err != nil {
		return g.damage(c, err)
	}
	return nil
}

// part is some bytes of a file, at their place in it.
type part struct {
	*bytes.Reader
	from int64
}

func (p *part) ReadAt(b []byte, at int64) (int, error) { return p.Reader.ReadAt(b, at-p.from) }

func (g *group) damage(c int, err error) error {
	return g.segment.damage(fmt.Errorf("column %s: %w", nameOf(c), err))
}

// nameOf is the name of a column of a file.
func nameOf(c int) string {
	if c == saidColumn {
		return saidName
	}
	return columns[c].name
}
