package segment

import (
	"encoding/binary"
	"errors"
	"slices"
)

// batchForm is how a batch in a log begins. No JSON begins with it.
const batchForm = 1

// errBatch says that bytes are no batch.
var errBatch = errors.New("no events in columns of a form that this program reads")

// AppendBinary appends the batch to dst, for a log:
//
//	batchForm, how many rows, how many columns, and of each that has something in it its name and then
//	  of texts that are hardly ever the same: each
//	  of other texts: how many values, each but the empty first one, and of each row which it has
//	  of lists: how many numbers each row has, then all numbers
//	  of numbers: all
//
// Counts are as binary.AppendUvarint writes them, texts have their length before them, and numbers are differences to the one
// before as binary.AppendVarint writes them.
func (b *Batch) AppendBinary(dst []byte) []byte {
	v := &b.view
	dst = binary.AppendUvarint(append(dst, batchForm), uint64(v.n))
	n := 0
	for i := range columns {
		if !v.blank(i) {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range columns {
		if !v.blank(i) {
			dst = v.columns[i].append(appendText(dst, columns[i].name), columns[i].kind)
		}
	}
	return dst
}

func (s *series) append(dst []byte, k kind) []byte {
	switch {
	case k == unique:
		return appendTexts(dst, s.values)
	case k.isText():
		dst = appendTexts(binary.AppendUvarint(dst, uint64(len(s.values))), s.values[1:])
		for _, at := range s.rows {
			dst = binary.AppendUvarint(dst, uint64(at))
		}
		return dst
	case k == list:
		for i := range s.ends {
			dst = binary.AppendUvarint(dst, uint64(len(s.list(i))))
		}
	}
	before := int64(0)
	for _, v := range s.numbers {
		dst, before = binary.AppendVarint(dst, v-before), v
	}
	return dst
}

func appendTexts(dst []byte, all []string) []byte {
	for _, v := range all {
		dst = appendText(dst, v)
	}
	return dst
}

func appendText(dst []byte, v string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

// ParseBatch reads what AppendBinary wrote. Whatever the bytes are, it takes no more memory than a multiple of them.
func ParseBatch(data []byte) (*Batch, error) {
	p := &cursor{data: data, text: string(data)}
	if len(data) == 0 || data[0] != batchForm {
		return nil, errBatch
	}
	p.at = 1
	b := &Batch{View{n: p.count(), columns: make([]series, len(columns))}}
	for range p.count() {
		name := p.word()
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		if p.failed || at < 0 || at == numberColumn || !b.view.blank(at) {
			return nil, errBatch
		}
		p.series(&b.view.columns[at], columns[at].kind, b.view.n)
	}
	if p.failed || p.at != len(data) {
		return nil, errBatch
	}
	b.view.bound()
	return b, nil
}

// cursor reads a batch. Once it has failed, what it returns has no meaning.
type cursor struct {
	data   []byte
	text   string // the same
	at     int
	failed bool
}

// count reads how many of something there are, each of which takes at least a byte of what is left.
func (p *cursor) count() int {
	v, n := binary.Uvarint(p.data[p.at:])
	if n <= 0 || v > uint64(len(p.data)-p.at-n) {
		p.failed = true
		return 0
	}
	p.at += n
	return int(v)
}

func (p *cursor) word() string {
	n := p.count()
	p.at += n
	return p.text[p.at-n : p.at]
}

// series reads a column of some rows.
func (p *cursor) series(s *series, k kind, rows int) {
	switch {
	case k == unique:
		s.values = p.words(make([]string, 0, rows), rows)
	case k.isText():
		n := p.count()
		s.values = p.words(append(make([]string, 0, n+1), ""), n-1)
		s.rows = make([]uint32, rows)
		for i := range s.rows {
			at, n := binary.Uvarint(p.data[p.at:])
			if n <= 0 || at >= uint64(len(s.values)) {
				p.failed = true
				return
			}
			s.rows[i], p.at = uint32(at), p.at+n
		}
	case k == list:
		total := 0
		s.ends = make([]uint32, rows)
		for i := range s.ends {
			total += p.count()
			s.ends[i] = uint32(total)
		}
		s.numbers = p.numbers(total)
	default:
		s.numbers = p.numbers(rows)
	}
}

func (p *cursor) words(dst []string, n int) []string {
	for range n {
		if p.failed {
			break
		}
		dst = append(dst, p.word())
	}
	return dst
}

func (p *cursor) numbers(n int) []int64 {
	if p.failed || n > len(p.data)-p.at {
		p.failed = true
		return nil
	}
	out := make([]int64, n)
	before := int64(0)
	for i := range out {
		d, n := binary.Varint(p.data[p.at:])
		if n <= 0 {
			p.failed = true
			return nil
		}
		before += d
		out[i], p.at = before, p.at+n
	}
	return out
}
