package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

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
