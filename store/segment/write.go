package segment

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/palisade-security/palisade/store/query"
)

// Info is what is known of a sealed segment without reading it.
type Info struct {
	Name  string `json:"name"` // of the file, in the directory it was written to
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	First int64  `json:"first"` // the earliest time in it, nanoseconds since 1970
	Last  int64  `json:"last"`  // the latest

	Lowest  uint64 `json:"lowest"`  // number in the store
	Highest uint64 `json:"highest"` // number in the store

	Sum   uint32 `json:"sum"`   // CRC-32C of all bytes
	Index int64  `json:"index"` // where what is not pages begins: Bloom filters, page index, footer
	Tail  uint32 `json:"tail"`  // CRC-32C of the bytes from there on
	Sums  []byte `json:"sums"`  // CRC-32C of the bytes of each column of each row group, four bytes each, little-endian

	// Blanks are the columns of each row group that are blank, a bit for each, filled up to whole bytes.
	Blanks []byte `json:"blanks"`

	// Values is how many rows have which value, by field, where there are few.
	Values map[string]map[string]int64 `json:"values"`
}

// Row is a row of a chunk to be written.
type Row struct {
	Chunk int
	Row   uint32
}

// mostValues is up to how many different values of a field stand in Info.
const mostValues = 256

// counted are the fields whose values stand in Info.
var counted = []query.Field{query.Kind, query.Side, query.Outcome, query.Reason, query.Service, query.Method, query.Route, query.Status}

// Write writes rows of chunks into a new file, in their order, which must be that of time, and returns what is known of it. The
// file is there as a whole or not at all, and safe on disk with its name when Write returns: it is written under another
// name, fsynced, renamed, and the directory fsynced.
func Write(dir, name string, from []Chunk, rows []Row) (*Info, error) {
	info := &Info{Name: name, Rows: int64(len(rows)), Values: map[string]map[string]int64{}}
	if len(rows) == 0 {
		return nil, errors.New("writing segment: there are no events")
	}
	path := filepath.Join(dir, name)
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing segment: %w", err)
	}
	err = info.write(f, from, rows)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = os.Rename(temporary, path); err == nil {
			err = SyncDir(dir)
		}
	}
	if err != nil {
		_ = os.Remove(temporary)
		return nil, fmt.Errorf("writing segment %s: %w", name, err)
	}
	return info, nil
}

// SyncDir makes the names in a directory safe on disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (n *Info) write(f *os.File, from []Chunk, rows []Row) error {
	out := &sink{w: f, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := parquet.NewGenericWriter[any](buffered, writerOptions()...)
	for at := 0; at < len(rows); at += groupRows {
		g := &gather{from: from, rows: rows[at:min(at+groupRows, len(rows))], first: at == 0, writer: w, info: n, said: newGrams()}
		if err := g.write(); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	n.Bytes, n.Sum = out.n, out.sum.Sum32()
	return n.sum(f, w.File().Metadata())
}

// sum reads what was written once more and sums up its parts.
func (n *Info) sum(f io.ReaderAt, meta *format.FileMetaData) error {
	for i := range meta.RowGroups {
		for j := range meta.RowGroups[i].Columns {
			from, to := extent(&meta.RowGroups[i].Columns[j].MetaData)
			s, err := sum(f, from, to)
			if err != nil {
				return err
			}
			n.Sums = binary.LittleEndian.AppendUint32(n.Sums, s)
			n.Index = max(n.Index, to)
		}
	}
	var err error
	n.Tail, err = sum(f, n.Index, n.Bytes)
	return err
}

// extent is where the bytes of a column of a row group lie: its dictionary, if it has one, and its pages.
func extent(c *format.ColumnMetaData) (from, to int64) {
	from = c.DataPageOffset
	if c.DictionaryPageOffset > 0 {
		from = min(from, c.DictionaryPageOffset)
	}
	return from, from + c.TotalCompressedSize
}

// sum is the checksum of the bytes of a file from one on and before another.
func sum(f io.ReaderAt, from, to int64) (uint32, error) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, err := io.Copy(h, io.NewSectionReader(f, from, to-from))
	return h.Sum32(), err
}

// sink counts and sums what goes through.
type sink struct {
	w   io.Writer
	n   int64
	sum hash.Hash32
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n += int64(n)
	_, _ = s.sum.Write(b[:n]) // a hash never fails
	return n, err
}

// gather writes one row group, column by column.
type gather struct {
	from   []Chunk
	rows   []Row
	first  bool // this is the first of the file
	writer *parquet.GenericWriter[any]
	info   *Info
	said   grams
}

func (g *gather) write() error {
	used := map[int]bool{}
	for _, r := range g.rows {
		used[r.Chunk] = true
	}
	writers := g.writer.ColumnWriters()
	blanks := make([]byte, blankBytes())
	for c := range columns {
		sources := make([]*series, len(g.from))
		for i := range used {
			s, err := g.from[i].load(c)
			if err != nil {
				return err
			}
			sources[i] = s
		}
		g.note(c, sources)
		fill := columns[c].filler(sources, c)
		if g.blank(c, sources, used) {
			blanks[c/8] |= 1 << (c % 8)
			fill = columns[c].blanks(c)
		} else if columns[c].words != silent {
			g.hear(c, sources)
		}
		if err := g.column(writers[c], fill); err != nil {
			return fmt.Errorf("column %s: %w", columns[c].name, err)
		}
	}
	g.info.Blanks = append(g.info.Blanks, blanks...)
	if err := g.column(writers[saidColumn], g.filter()); err != nil {
		return fmt.Errorf("column %s: %w", saidName, err)
	}
	return g.writer.Flush()
}

// blankBytes is how many bytes tell which columns of a row group are blank.
func blankBytes() int { return (len(columns) + 7) / 8 }

// blank tells whether no row has anything in a column.
func (g *gather) blank(c int, sources []*series, used map[int]bool) bool {
	all := true
	for i := range used {
		all = all && g.from[i].blank(c)
	}
	return all || !slices.ContainsFunc(g.rows, func(r Row) bool {
		s := sources[r.Chunk]
		switch k := columns[c].kind; {
		case k == list:
			return len(s.list(int(r.Row))) > 0
		case k.isText():
			return s.text(int(r.Row)) != ""
		}
		return s.numbers[r.Row] != 0
	})
}

// column writes the values that fill appends for each row.
func (g *gather) column(w *parquet.ColumnWriter, fill func([]parquet.Value, Row) []parquet.Value) error {
	values := make([]parquet.Value, 0, batchValues)
	for i, r := range g.rows {
		values = fill(values, r)
		if len(values) >= batchValues-64 || i == len(g.rows)-1 {
			if _, err := w.WriteRowValues(values); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	return nil
}

// filler returns what appends the values that a row has in the column numbered at.
func (c *column) filler(sources []*series, at int) func(dst []parquet.Value, r Row) []parquet.Value {
	switch {
	case c.kind == list:
		return func(dst []parquet.Value, r Row) []parquet.Value {
			all := sources[r.Chunk].list(int(r.Row))
			if len(all) == 0 {
				return append(dst, parquet.NullValue().Level(0, 0, at))
			}
			for i, v := range all {
				dst = append(dst, parquet.Int64Value(v).Level(min(i, 1), 1, at))
			}
			return dst
		}
	case c.kind.isText():
		ready := make([][]parquet.Value, len(sources)) // of those with dictionaries
		for i, s := range sources {
			if s != nil && s.rows != nil {
				ready[i] = make([]parquet.Value, len(s.values))
				for j, v := range s.values {
					ready[i][j] = textValue(v)
				}
			}
		}
		return func(dst []parquet.Value, r Row) []parquet.Value {
			if s := sources[r.Chunk]; s.rows != nil {
				return append(dst, ready[r.Chunk][s.rows[r.Row]])
			}
			return append(dst, textValue(sources[r.Chunk].values[r.Row]))
		}
	case c.kind == flag:
		return func(dst []parquet.Value, r Row) []parquet.Value {
			return append(dst, parquet.BooleanValue(sources[r.Chunk].numbers[r.Row] != 0))
		}
	}
	return func(dst []parquet.Value, r Row) []parquet.Value {
		return append(dst, parquet.Int64Value(sources[r.Chunk].numbers[r.Row]))
	}
}

// textValue is no copy: the writer only reads it.
func textValue(v string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(v), len(v))) //nolint:gosec // see above
}

// note gathers what Info says of a column.
func (g *gather) note(c int, sources []*series) {
	if c == timeColumn {
		begin, end := g.rows[0], g.rows[len(g.rows)-1]
		if g.first {
			g.info.First = sources[begin.Chunk].numbers[begin.Row]
		}
		g.info.Last = sources[end.Chunk].numbers[end.Row]
	}
	if c == numberColumn {
		for _, r := range g.rows {
			number := uint64(sources[r.Chunk].numbers[r.Row])
			if g.info.Lowest == 0 {
				g.info.Lowest = number
			}
			g.info.Lowest, g.info.Highest = min(g.info.Lowest, number), max(g.info.Highest, number)
		}
	}
	if f := columns[c].field; slices.Contains(counted, f) {
		g.count(c, f.String(), sources)
	}
}

// count counts the rows by the values of a column for Info, unless there are too many.
func (g *gather) count(c int, name string, sources []*series) {
	counts, told := g.info.Values[name]
	if told && counts == nil {
		return
	}
	if counts == nil {
		counts = map[string]int64{}
	}
	places, numbers := make([][]int64, len(sources)), map[int64]int64{}
	for i, s := range sources {
		if s != nil && s.rows != nil {
			places[i] = make([]int64, len(s.values))
		}
	}
	for _, r := range g.rows {
		switch s := sources[r.Chunk]; {
		case s.rows != nil:
			places[r.Chunk][s.rows[r.Row]]++
		case columns[c].kind.isText():
			counts[query.Shown(s.values[r.Row])]++
		default:
			numbers[s.numbers[r.Row]]++
		}
		if len(counts) > mostValues || len(numbers) > mostValues {
			break
		}
	}
	for i, s := range sources {
		for at, n := range places[i] {
			if n > 0 {
				counts[query.Shown(s.values[at])] += n
			}
		}
	}
	for v, n := range numbers {
		counts[strconv.FormatInt(v, 10)] += n
	}
	if len(counts) > mostValues {
		counts = nil
	}
	g.info.Values[name] = counts
}

// shown is a value as events are counted by it.
func (c *column) shown(s *series, row int) string {
	if c.kind.isText() {
		return query.Shown(s.text(row))
	}
	return strconv.FormatInt(s.numbers[row], 10)
}

// Order returns the rows of chunks in order of time; of one time, those of earlier chunks first.
func Order(from []Chunk) ([]Row, error) {
	type place struct {
		Row
		time int64
	}
	n := 0
	for _, c := range from {
		n += c.Rows()
	}
	all := make([]place, 0, n)
	for i, c := range from {
		times, err := c.load(timeColumn)
		if err != nil {
			return nil, err
		}
		for row, t := range times.numbers[:c.Rows()] {
			all = append(all, place{Row{i, uint32(row)}, t})
		}
	}
	slices.SortStableFunc(all, func(a, b place) int { return cmp.Compare(a.time, b.time) })
	rows := make([]Row, n)
	for i := range all {
		rows[i] = all[i].Row
	}
	return rows, nil
}
