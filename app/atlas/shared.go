package atlas

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/palisade-security/palisade/store/shared"
)

// writing is how long a file may take, also of a process that ends.
const writing = 30 * time.Second

// rows is a shelf in the PostgreSQL that several controls share.
type rows struct {
	fs.ReadDirFS
	shelf *shared.Shelf
	write func(name string, data []byte) error
}

// Shared takes the shelf in the PostgreSQL at a location, which is secret, or returns ErrStandby. Whoever has it makes every change over one
// connection, with which the right to it ends: who has lost the right cannot write.
func Shared(ctx context.Context, location string) (Shelf, error) {
	shelf, err := shared.TakeShelf(ctx, location, shared.Maps)
	if errors.Is(err, shared.ErrHeld) {
		return nil, ErrStandby
	}
	if err != nil {
		return nil, err
	}
	return &rows{shelf.Files(ctx), shelf, func(name string, data []byte) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writing)
		defer cancel()
		return shelf.Change(ctx, func(fs.FS) (map[string][]byte, error) { return map[string][]byte{name: data}, nil })
	}}, nil
}

func (r *rows) Write(name string, data []byte) error { return r.write(name, data) }
func (r *rows) Remove(name string) error             { return r.write(name, nil) }
func (r *rows) Close() error                         { return r.shelf.Close() }
