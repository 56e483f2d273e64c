package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// A line of an export is {"number":12,"record":{...}}: what stands between "record": and the last brace are the exact bytes
// whose hash the ledger has.
const (
	lineNumber = `{"number":`
	lineRecord = `,"record":`
)

// appendLine appends a record as a line of an export.
func appendLine(dst []byte, number uint64, record []byte) []byte {
	dst = strconv.AppendUint(append(dst, lineNumber...), number, 10)
	dst = append(append(dst, lineRecord...), record...)
	return append(dst, '}', '\n')
}

// parseLine reads a line of an export, without its end.
func parseLine(line []byte) (ledger.Record, error) {
	rest, ok := bytes.CutPrefix(line, []byte(lineNumber))
	number, rest, more := bytes.Cut(rest, []byte(lineRecord))
	if !ok || !more || len(rest) == 0 || rest[len(rest)-1] != '}' {
		return ledger.Record{}, errors.New(`it is not {"number":N,"record":{...}}`)
	}
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || n == 0 {
		return ledger.Record{}, fmt.Errorf("%.40q is no number of a record", number)
	}
	return ledger.Record{Number: n, Data: rest[:len(rest)-1]}, nil
}

// exported reads the records of an export. What cannot be read is told as *ledger.DamageError.
func exported(path string) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		f, err := os.Open(filepath.Clean(path))
		if err != nil {
			yield(ledger.Record{}, err)
			return
		}
		defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
		name := filepath.Base(path)
		plain, err := gzip.NewReader(f)
		if err != nil {
			yield(ledger.Record{}, &ledger.DamageError{Text: fmt.Sprintf("%s cannot be read: %v", name, err)})
			return
		}
		lines(plain, name, yield)
	}
}

// lines reads the lines of an export.
func lines(r io.Reader, name string, yield func(ledger.Record, error) bool) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	at := 0
	for in.Scan() {
		at++
		record, err := parseLine(in.Bytes())
		if err != nil {
			err = &ledger.DamageError{Text: fmt.Sprintf("line %d of %s cannot be read: %v", at, name, err)}
		}
		if !yield(record, err) {
			return
		}
	}
	if err := in.Err(); err != nil {
		yield(ledger.Record{}, &ledger.DamageError{Text: fmt.Sprintf("%s cannot be read behind line %d: %v", name, at, err)})
	}
}

// kept are the records of a store. What cannot be read is told as *ledger.DamageError, what cannot be read now ends with its error.
func kept(ctx context.Context, in func(context.Context, uint64) iter.Seq2[query.Record, error], first uint64) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		for r, err := range in(ctx, first) {
			var record ledger.Record
			_, away := errors.AsType[*segment.AwayError](err)
			switch {
			case err == nil:
				record = ledger.Record{Number: r.Number, Data: r.JSON()}
			case ctx.Err() == nil && !away: // what is out of reach may be sound
				damage := &ledger.DamageError{Text: err.Error()}
				if at, ok := errors.AsType[*events.UnreadError](err); ok {
					damage.First, damage.Last, damage.Most = at.First, at.Last, at.Most
				}
				err = damage
			}
			if !yield(record, err) {
				return
			}
		}
	}
}
