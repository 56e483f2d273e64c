package keyring

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const maxState = 256 << 20 // bytes of one sealed state; a snapshot of thousands of services stays far below

// Seal encrypts data so that only this ring opens it, and only under the same name. It does not hide the
// length, and it does not tell an older sealed value of a name from a newer one: whoever may write where it
// lies can put back what lay there before.
func (r *Ring) Seal(name string, data []byte) ([]byte, error) {
	sealed, err := r.seal.Encrypt(data, bound("state", name))
	if err != nil {
		return nil, fmt.Errorf("sealing %q: %w", name, err)
	}
	return sealed, nil
}

// Open returns what Seal was given. The error wraps ErrSealed if it does not open.
func (r *Ring) Open(name string, sealed []byte) ([]byte, error) {
	data, err := r.seal.Decrypt(sealed, bound("state", name))
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", name, ErrSealed)
	}
	return data, nil
}

// Save seals data and stores it in the ring's folder under name: durably, and so that a crash leaves the old
// or the new value.
func (r *Ring) Save(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	sealed, err := r.Seal(name, data)
	if err == nil {
		err = replaceFile(r.statePath(name), sealed, 0o600)
	}
	if err != nil {
		return fmt.Errorf("saving %q: %w", name, err)
	}
	return nil
}

// Load returns what Save stored under name. The error wraps fs.ErrNotExist if nothing was, ErrSealed if it
// does not open.
func (r *Ring) Load(name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := os.Open(r.statePath(name))
	if err != nil {
		return nil, fmt.Errorf("loading %q: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("loading %q: %w", name, err)
	}
	if n > maxState {
		return nil, fmt.Errorf("loading %q: more than %d bytes", name, maxState)
	}
	return r.Open(name, buf.Bytes())
}

func (r *Ring) statePath(name string) string {
	return filepath.Join(r.dir, ringState, name+".sealed")
}
