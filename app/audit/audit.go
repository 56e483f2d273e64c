// Package audit joins the store of events to the ledger, and lets others check both: it appends the hash of every record to the
// ledger, writes what an auditor needs into a folder, verifies such a folder or a state directory from their files alone,
// and is the witness that a second party runs. It is not what records events, and decides nothing about who may see them.
package audit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/ledger"
)

// The files beside the tiles of a ledger, in a state directory and in an export alike.
const (
	checkpointFile = "checkpoint"
	keyFile        = "key.pub"
)

// Place is where a ledger and its records lie on a machine that keeps them.
type Place struct {
	Ledger string // folder
	Store  string // folder of store/events
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

// readKey reads the public key of a ledger.
func readKey(path string) (note.Verifier, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of the ledger: %w", err)
	}
	return ledger.NewVerifier(string(text))
}

// replace writes a file as a whole, durably, for its owner alone.
func replace(path string, data []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
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
		err = os.Rename(path+".new", path)
	}
	return err
}
