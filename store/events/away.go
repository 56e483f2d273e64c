package events

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/segment"
)

// shelf is where segments lie: in files of a folder, and in a bucket those of which the file was removed.
type shelf struct {
	dir  string
	read func(object string, p []byte, at int64) error // nil: there is no bucket
}

// cached is how many bytes of objects are kept in memory.
const cached = 64 << 20

// newShelf reads from a bucket, if there is one, until ctx ends.
func newShelf(ctx context.Context, dir string, b *bucket.Bucket) *shelf {
	if b == nil {
		return &shelf{dir: dir}
	}
	c := newCache(cached)
	return &shelf{dir, func(object string, p []byte, at int64) error {
		e := extent{object, at, len(p)}
		if c.get(e, p) {
			return nil
		}
		if err := b.Read(ctx, object, p, at); err != nil {
			return err
		}
		c.put(e, p)
		return nil
	}}
}

// complete reads the tail of a segment of which there is no file at all into one.
func (h *shelf) complete(e *entry) error {
	if e.Object == "" || h.read == nil {
		return nil
	}
	for _, ending := range []string{"", tailEnding} {
		if _, err := os.Stat(h.path(e) + ending); !errors.Is(err, os.ErrNotExist) {
			return nil // if it cannot be read, opening it says so
		}
	}
	tail, err := h.fetch(e)
	if _, away := errors.AsType[*segment.AwayError](err); away {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // opening it says so
	}
	return h.keepTail(e, tail)
}

// errNoBucket says that segments lie where nobody looks any more.
var errNoBucket = errors.New("it lies in object storage, and the model names none: write audit.bucket as it was")

// tailEnding ends the name of a file that holds what is not pages of a segment whose pages are in the bucket alone: its filters and index.
const tailEnding = ".tail"

func (h *shelf) path(e *entry) string { return filepath.Join(h.dir, e.Name) }

// open opens a segment: its file, or if that was removed its object, of which nothing is read but what no file holds of the tail.
func (h *shelf) open(e *entry) *sealed {
	one := &sealed{entry: *e}
	one.users.Store(1)
	one.segment, one.err = segment.Open(h.dir, &one.Info)
	if _, err := os.Stat(h.path(e)); one.err != nil && e.Object != "" && errors.Is(err, os.ErrNotExist) {
		one.away = true
		one.segment, one.err = h.openAway(e)
	}
	return one
}

func (h *shelf) openAway(e *entry) (*segment.Segment, error) {
	o := &object{of: e, read: h.read}
	f, err := os.Open(h.path(e) + tailEnding)
	switch {
	case err == nil:
		o.tail, o.file = f, f
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("opening segment: %w", err)
	default:
		if o.tail, err = h.fetch(e); err != nil {
			return nil, err
		}
	}
	named := e.Info
	named.Name = e.Object // whoever is told of damage looks for it in the bucket
	return segment.OpenFile(o, &named)
}

// fetch reads the tail of a segment from the bucket.
func (h *shelf) fetch(e *entry) (memory, error) {
	if e.Index < 0 || e.Bytes < e.Index || e.Bytes-e.Index > 1<<30 {
		return nil, &segment.DamageError{Name: e.Name, Found: "the manifest says that its index is elsewhere"}
	}
	b := make(memory, e.Bytes-e.Index)
	return b, (&object{of: e, read: h.read}).remote(b, e.Index)
}

// remove removes what there is of a segment in files.
func (h *shelf) remove(e *entry) error {
	var failed error
	for _, ending := range []string{"", tailEnding} {
		if err := os.Remove(h.path(e) + ending); !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// keepTail writes the tail of a segment into a file, durably.
func (h *shelf) keepTail(e *entry, tail []byte) error {
	if err := writeDurably(h.path(e)+tailEnding, tail); err != nil {
		return fmt.Errorf("keeping the index of segment %s: %w", e.Name, err)
	}
	return nil
}

// memory is bytes that are read like a file.
type memory []byte

func (m memory) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m)) {
		return 0, errors.New("bytes behind the end are asked for")
	}
	return copy(p, m[at:]), nil
}

// object is a segment in the bucket, with its tail here.
type object struct {
	of   *entry
	tail interface {
		ReadAt(p []byte, at int64) (int, error)
	}
	file *os.File // of the tail; nil: it is in memory
	read func(object string, p []byte, at int64) error
}

// ReadAt reads pages from the bucket and the rest from the tail.
func (o *object) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	if before := o.of.Index - at; before > 0 {
		n = int(min(before, int64(len(p))))
		if err := o.remote(p[:n], at); err != nil {
			return 0, err
		}
		if n == len(p) {
			return n, nil
		}
	}
	m, err := o.tail.ReadAt(p[n:], at+int64(n)-o.of.Index)
	return n + m, err
}

func (o *object) remote(p []byte, at int64) error {
	if o.read == nil {
		return &segment.AwayError{Name: o.of.Object, Err: errNoBucket}
	}
	err := o.read(o.of.Object, p, at)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bucket.ErrAbsent), errors.Is(err, bucket.ErrShort):
		return err // nobody will bring it back: that is damage
	}
	return &segment.AwayError{Name: o.of.Object, Err: err}
}

// Close frees the file.
func (o *object) Close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
