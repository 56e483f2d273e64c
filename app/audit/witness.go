package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/palisade-security/palisade/ledger"
)

// The files of a witness.
const (
	witnessSecret  = "witness.key"
	witnessPublic  = "witness.pub"
	witnessLast    = "last"    // checkpoint that was signed last
	witnessRefused = "refused" // checkpoint that does not go on from there
)

// remembered is the memory of a witness in its folder.
type remembered string

func (r remembered) Last() ([]byte, error) {
	text, err := readSmall(filepath.Join(string(r), witnessLast))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

func (r remembered) Keep(checkpoint []byte) error {
	return replace(filepath.Join(string(r), witnessLast), checkpoint)
}

// ownMemory is the memory of a witness whose folder another process may use, too: nothing is remembered in place of what has come there since
// it was looked at, so that the two cannot sign two histories. A Witness uses it from one goroutine at a time.
type ownMemory struct {
	remembered
	seen []byte
}

func (m *ownMemory) Last() (text []byte, err error) {
	m.seen, err = m.remembered.Last()
	return m.seen, err
}

func (m *ownMemory) Keep(checkpoint []byte) (err error) {
	dir, err := os.Open(string(m.remembered))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // and with it the lock
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking the folder of the witness: %w", err)
	}
	now, err := m.remembered.Last()
	if err != nil {
		return err
	}
	if !bytes.Equal(now, m.seen) {
		return fmt.Errorf("another process signs with the folder %s, too; ask again, and run one", string(m.remembered))
	}
	return m.remembered.Keep(checkpoint)
}

// Witness signs the checkpoint of a ledger at a place, or in an export, if all that it signed before is still in
// the tree. What it needs to remember is in a folder of its own: its key, which is made under a name if there is none, and the last
// checkpoint; one that it refused, too. It returns the checkpoint with its signature added.
func Witness(ctx context.Context, at Place, own, name, key string) ([]byte, error) {
	w, err := OpenWitness(own, name, key)
	if err != nil {
		return nil, err
	}
	tree := at.tree(ctx)
	text, err := tree.Newest(ctx)
	if errors.Is(err, fs.ErrNotExist) && at.Ledger != "" && at.Served == nil && at.Shared == nil {
		hint := "the folder ledger of a state directory, a copy of it, or an export"
		if isThere(at.Ledger, "ledger", checkpointFile) {
			hint += ": here " + filepath.Join(at.Ledger, "ledger")
		}
		return nil, fmt.Errorf("there is no file %s in %s; expected %s", checkpointFile, at.Ledger, hint)
	}
	if err != nil {
		return nil, err
	}
	signed, err := w.Cosign(ctx, tree, text)
	if errors.Is(err, ledger.ErrForked) || errors.Is(err, ledger.ErrRolledBack) {
		return nil, errors.Join(err, replace(filepath.Join(own, witnessRefused), text)) // with what was signed last, it is the proof
	}
	if err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(own, checkpointFile), signed); err != nil {
		return nil, fmt.Errorf("keeping what was signed: %w", err)
	}
	return signed, nil
}

// witnessKey reads the key of a witness, or makes it.
func witnessKey(own, name string) (string, error) {
	path := filepath.Join(own, witnessSecret)
	text, err := readSmall(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(text), err
	}
	if name == "" {
		return "", errors.New("the witness has no key yet; name it with --name, such as --name auditor.example, and a key is made")
	}
	secret, public, err := ledger.NewWitnessKey(name)
	if err != nil {
		return "", err
	}
	err = replace(filepath.Join(own, witnessPublic), []byte(public+"\n"))
	if err == nil {
		err = replace(path, []byte(secret+"\n"))
	}
	if err != nil {
		return "", fmt.Errorf("writing the key of the witness: %w", err)
	}
	return secret, nil
}
