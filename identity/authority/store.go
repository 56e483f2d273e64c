package authority

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrConflict tells that somebody else has saved since what was loaded.
var ErrConflict = errors.New("the authority's state was changed by another")

// Store keeps the authority's state: certificates, schedules and the revocation list, no private keys. It is
// safe for concurrent use.
type Store interface {
	// Load returns the state and its revision. The error wraps fs.ErrNotExist if there is none.
	Load(ctx context.Context) (state []byte, revision uint64, err error)
	// Save replaces the state of a revision (0: none yet) by its successor, durably and whole. The error
	// wraps ErrConflict if the revision is not the stored one; nothing is changed then.
	Save(ctx context.Context, state []byte, revision uint64) error
}

const maxStateFile = 256 << 20

// FileStore is a Store in one file, for one process. A crash leaves the old or the new state.
type FileStore struct {
	path string
	mu   sync.Mutex
}

// NewFileStore stores at path; its folder must exist.
func NewFileStore(path string) *FileStore { return &FileStore{path: path} }

// envelope is the content of the file.
type envelope struct {
	Revision uint64          `json:"revision"`
	State    json.RawMessage `json:"state"`
}

// Load is Store's.
func (s *FileStore) Load(context.Context) ([]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.read()
	if err != nil {
		return nil, 0, fmt.Errorf("reading the authority's state: %w", err)
	}
	return e.State, e.Revision, nil
}

// Save is Store's.
func (s *FileStore) Save(_ context.Context, state []byte, revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the authority's state: %w", err)
	}
	if stored.Revision != revision {
		return fmt.Errorf("writing the authority's state: %w", ErrConflict)
	}
	data, err := json.Marshal(envelope{Revision: revision + 1, State: state})
	if err == nil {
		err = replaceFile(s.path, data)
	}
	if err != nil {
		return fmt.Errorf("writing the authority's state: %w", err)
	}
	return nil
}

// read returns the content of the file.
func (s *FileStore) read() (envelope, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return envelope{}, err
	}
	defer func() { _ = f.Close() }()
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(f, maxStateFile+1))
	if err != nil {
		return envelope{}, err
	}
	if n > maxStateFile {
		return envelope{}, fmt.Errorf("%s has more than %d bytes", s.path, maxStateFile)
	}
	var e envelope
	if err := json.Unmarshal(buf.Bytes(), &e); err != nil {
		return envelope{}, fmt.Errorf("%s: %w", s.path, err)
	}
	return e, nil
}

// replaceFile writes a file of mode 0600 beside path and puts it in its place.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
