package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// reader turns pages into a series.
type reader struct {
	kind   kind
	expect int // rows that will be read; room is made for as many at once
	n      int // rows read

	dictionary []string // of the column, once one of its pages was read
	numbers    []int64  // the same for numbers
	out        series
}

// all reads every page.
func (r *reader) all(pages parquet.Pages) error {
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = r.page(page)
		parquet.Release(page)
		if err != nil {
			return err
		}
	}
}

// page appends the rows of a page.
func (r *reader) page(p parquet.Page) error {
	n := int(p.NumRows())
	r.n += n
	switch {
	case r.kind == list:
		return r.lists(p)
	case r.kind.isText():
		return r.texts(p, n)
	case r.kind == flag:
		return r.flags(p, n)
	}
	return r.ints(p, n)
}

func (r *reader) texts(p parquet.Page, n int) error {
	data := p.Data()
	if d := p.Dictionary(); d != nil {
		if r.dictionary == nil {
			all := d.Page().Data()
			r.dictionary = slices.Clip(split(all.ByteArray()))
		}
		codes := data.Int32()
		if len(codes) != n {
			return fmt.Errorf("%d values of %d rows", len(codes), n)
		}
		switch {
		case r.out.rows != nil:
		case len(r.out.values) > 0:
			return errors.New("a dictionary is used behind plain values")
		default:
			r.out.values, r.out.rows = r.dictionary, make([]uint32, 0, r.expect)
		}
		for _, c := range codes {
			if c < 0 || int(c) >= len(r.dictionary) {
				return fmt.Errorf("value %d of a dictionary of %d", c, len(r.dictionary))
			}
			r.out.rows = append(r.out.rows, uint32(c))
		}
		return nil
	}
	values := split(data.ByteArray())
	if len(values) != n {
		return fmt.Errorf("%d values of %d rows", len(values), n)
	}
	if r.out.rows != nil { // behind pages that point at the dictionary
		base := len(r.out.values)
		r.out.values = append(r.out.values, values...)
		for i := range values {
			r.out.rows = append(r.out.rows, uint32(base+i))
		}
		return nil
	}
	r.out.values = append(slices.Grow(r.out.values, r.expect-len(r.out.values)), values...)
	return nil
}

// split copies texts that lie one behind the other.
func split(data []byte, offsets []uint32) []string {
	if len(offsets) == 0 {
		return []string{}
	}
	all := string(data)
	out := make([]string, len(offsets)-1)
	for i := range out {
		out[i] = all[offsets[i]:offsets[i+1]]
	}
	return out
}

func (r *reader) ints(p parquet.Page, n int) error {
	if r.out.numbers == nil {
		r.out.numbers = make([]int64, 0, r.expect)
	}
	data := p.Data()
	d := p.Dictionary()
	if d == nil {
		values := data.Int64()
		if len(values) != n {
			return fmt.Errorf("%d values of %d rows", len(values), n)
		}
		r.out.numbers = append(r.out.numbers, values...)
		return nil
	}
	if r.numbers == nil {
		all := d.Page().Data()
		r.numbers = append([]int64{}, all.Int64()...)
	}
	codes := data.Int32()
	if len(codes) != n {
		return fmt.Errorf("%d values of %d rows", len(codes), n)
	}
	for _, c := range codes {
		if c < 0 || int(c) >= len(r.numbers) {
			return fmt.Errorf("value %d of a dictionary of %d", c, len(r.numbers))
		}
		r.out.numbers = append(r.out.numbers, r.numbers[c])
	}
	return nil
}

func (r *reader) flags(p parquet.Page, n int) error {
	from, ok := p.Values().(parquet.BooleanReader)
	if !ok {
		return errors.New("no truth values")
	}
	if r.out.numbers == nil {
		r.out.numbers = make([]int64, 0, r.expect)
	}
	values := make([]bool, n)
	if got, err := from.ReadBooleans(values); got != n {
		return fmt.Errorf("%d values of %d rows: %w", got, n, err)
	}
	for _, v := range values {
		r.out.numbers = append(r.out.numbers, bit(v))
	}
	return nil
}

func (r *reader) lists(p parquet.Page) error {
	data := p.Data()
	values := data.Int64()
	starts, defined := p.RepetitionLevels(), p.DefinitionLevels()
	if len(starts) != len(defined) {
		return fmt.Errorf("%d and %d levels", len(starts), len(defined))
	}
	at := 0
	for i := range starts {
		if starts[i] == 0 && i > 0 {
			r.out.ends = append(r.out.ends, uint32(len(r.out.numbers)))
		}
		if defined[i] == 0 {
			continue
		}
		if at == len(values) {
			return errors.New("fewer values than levels")
		}
		r.out.numbers = append(r.out.numbers, values[at])
		at++
	}
	if len(starts) > 0 {
		r.out.ends = append(r.out.ends, uint32(len(r.out.numbers)))
	}
	return nil
}
