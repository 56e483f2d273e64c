package segment

import (
	"fmt"

	"github.com/parquet-go/parquet-go"
)

// some reads the pages that hold some rows, in ascending order, and keeps of them those rows.
func (r *reader) some(pages parquet.Pages, rows []uint32) error {
	for len(rows) > 0 {
		first := rows[0]
		if err := pages.SeekToRow(int64(first)); err != nil {
			return err
		}
		page, err := pages.ReadPage() // what is behind the row on its page
		if err != nil {
			return err
		}
		n := 0
		for n < len(rows) && int64(rows[n]-first) < page.NumRows() {
			n++
		}
		if n == 0 {
			err = fmt.Errorf("row %d is on no page", first)
		} else {
			err = r.keep(page, first, rows[:n])
		}
		parquet.Release(page)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// keep appends rows of a page whose first is numbered so.
func (r *reader) keep(p parquet.Page, first uint32, rows []uint32) error {
	switch {
	case r.kind == list:
		whole := &reader{kind: list}
		if err := whole.lists(p); err != nil {
			return err
		}
		for _, row := range rows {
			if int(row-first) >= len(whole.out.ends) {
				return fmt.Errorf("row %d is on no page", row)
			}
			r.out.numbers = append(r.out.numbers, whole.out.list(int(row-first))...)
			r.out.ends = append(r.out.ends, uint32(len(r.out.numbers)))
		}
		return nil
	case r.kind.isText():
		return r.keepTexts(p, first, rows)
	case r.kind == flag:
		for _, row := range rows {
			var v [1]parquet.Value
			if n, err := p.Slice(int64(row-first), int64(row-first)+1).Values().ReadValues(v[:]); n != 1 {
				return fmt.Errorf("row %d has no value: %w", row, err)
			}
			r.out.numbers = append(r.out.numbers, bit(v[0].Boolean()))
		}
		return nil
	}
	return r.keepInts(p, first, rows)
}

func (r *reader) keepTexts(p parquet.Page, first uint32, rows []uint32) error {
	data, d := p.Data(), p.Dictionary()
	var codes []int32
	if d != nil {
		codes = data.Int32()
		data = d.Page().Data()
	}
	texts, offsets := data.ByteArray()
	for _, row := range rows {
		at := int(row - first)
		if d != nil {
			if at >= len(codes) {
				return fmt.Errorf("row %d of %d values", at, len(codes))
			}
			at = int(codes[at])
		}
		if at < 0 || at+1 >= len(offsets) {
			return fmt.Errorf("value %d of %d", at, len(offsets)-1)
		}
		r.out.values = append(r.out.values, string(texts[offsets[at]:offsets[at+1]]))
	}
	return nil
}

func (r *reader) keepInts(p parquet.Page, first uint32, rows []uint32) error {
	data, d := p.Data(), p.Dictionary()
	var codes []int32
	if d != nil {
		codes = data.Int32()
		data = d.Page().Data()
	}
	values := data.Int64()
	for _, row := range rows {
		at := int(row - first)
		if d != nil {
			if at >= len(codes) {
				return fmt.Errorf("row %d of %d values", at, len(codes))
			}
			at = int(codes[at])
		}
		if at < 0 || at >= len(values) {
			return fmt.Errorf("value %d of %d", at, len(values))
		}
		r.out.numbers = append(r.out.numbers, values[at])
	}
	return nil
}
