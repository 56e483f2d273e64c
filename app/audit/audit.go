// Package audit joins the store of events to the ledger, and lets others check both: it appends the hash of every record to the
// ledger, writes what an auditor needs into a folder, verifies such a folder or a state directory from their files alone,
// and is the witness that a second party runs. It is not what records events, and decides nothing about who may see them.
package audit

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
	"github.com/palisade-security/palisade/store/shared"
)

// The files beside the tiles of a ledger, in a state directory and in an export alike.
const (
	checkpointFile = "checkpoint"
	keyFile        = "key.pub"
)

// Place is where a ledger and its records lie: in folders of the machine that keeps them, in the store that several controls share, or,
// for the ledger alone, where it is served.
type Place struct {
	Ledger string                         // folder
	Store  string                         // folder of store/events
	Bucket func() (*bucket.Bucket, error) // in which what is not in the folder lies; nil: there is none
	Shared *shared.Store
	Served *Served
}

// files are those of the ledger.
func (p *Place) files(ctx context.Context) fs.FS {
	if p.Shared != nil {
		return p.Shared.Files(ctx, shared.Ledger)
	}
	return os.DirFS(p.Ledger)
}

// look is the records of a store, as they are now.
type look interface {
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
	Within(ctx context.Context, since, until time.Time) (first, last uint64, err error)
}

// look looks at the records. The func that is returned ends that.
func (p *Place) look(ctx context.Context) (look, func() error, error) {
	if p.Shared != nil {
		return p.Shared, func() error { return nil }, nil
	}
	var b *bucket.Bucket
	if p.Bucket != nil {
		var err error
		if b, err = p.Bucket(); err != nil {
			return nil, nil, err
		}
	}
	l, err := events.Peek(ctx, p.Store, b)
	if err != nil {
		return nil, nil, err
	}
	return onDisk{l}, l.Close, nil
}

// onDisk is a store of which the files are read.
type onDisk struct{ *events.Look }

func (l onDisk) Within(_ context.Context, since, until time.Time) (first, last uint64, err error) {
	first, last = l.Look.Within(since, until)
	return first, last, nil
}

// The sizes of what is read that others may have written.
const (
	maxSmall = 1 << 20  // bytes of a key, a checkpoint, a manifest
	maxLine  = 32 << 20 // bytes of a record and its number
)

// readSmall reads a file that is small if it is what it should be.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmall {
		return nil, fmt.Errorf("%s is not what it should be: larger than 1 MiB, or no file", path)
	}
	return os.ReadFile(filepath.Clean(path))
}

// readFrom is readSmall for a file of a ledger.
func readFrom(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmall {
		return nil, fmt.Errorf("%s is not what it should be: larger than 1 MiB, or no file", name)
	}
	return fs.ReadFile(files, name)
}

// readKey reads the public key of a ledger.
func readKey(path string) (note.Verifier, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of the ledger: %w", err)
	}
	v, err := ledger.NewVerifier(string(text))
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", path, err)
	}
	return v, nil
}

func readKeyFrom(files fs.FS, name string) (note.Verifier, error) {
	text, err := readFrom(files, name)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of the ledger: %w", err)
	}
	return ledger.NewVerifier(string(text))
}

// isThere tells whether there is a file or a folder.
func isThere(elements ...string) bool {
	_, err := os.Stat(filepath.Join(elements...))
	return err == nil
}

// replace writes a file as a whole, durably, for its owner alone.
func replace(path string, data []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // G703: the state directory, or a folder that the user named
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(path+".new", path) //nolint:gosec // G703: the same
	}
	if err == nil {
		err = segment.SyncDir(filepath.Dir(path))
	}
	return err
}
