package atlas

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/store/segment"
)

// Shelf is where the files of maps lie. It reads them as they are when each is opened. One process at a time has it; Close lets another.
type Shelf interface {
	fs.FS
	// Write keeps a file as a whole: whoever opens it has the old content or the new, and when Write returns the new is durable.
	Write(name string, data []byte) error
	Remove(name string) error // nil if it is not there
	Close() error
}

// ErrStandby says that another process keeps the maps that it shares with this one.
var ErrStandby = errors.New("another control keeps the maps")

// folder is a shelf of one process: nobody else writes there.
type folder struct {
	fs.FS
	dir string
}

// Folder is a shelf in a folder, which is made if it is not there.
func Folder(dir string) (Shelf, error) {
	for _, d := range []string{dir, filepath.Join(dir, seenDir), filepath.Join(dir, declaredDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return &folder{os.DirFS(dir), dir}, nil
}

func (f *folder) Write(name string, data []byte) error {
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	to, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = to.Write(data)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = segment.SyncDir(filepath.Dir(path))
	}
	return err
}

func (f *folder) Remove(name string) error {
	err := os.Remove(filepath.Join(f.dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (*folder) Close() error { return nil }

// writePacked writes a file of JSON.
func writePacked(to Shelf, name string, of any) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	err := errors.Join(json.NewEncoder(z).Encode(of), z.Close())
	if err == nil {
		err = to.Write(name, packed.Bytes())
	}
	if err != nil {
		return fmt.Errorf("keeping the map: %w", err)
	}
	return nil
}

func writeJSON(to Shelf, name string, of any) error {
	data, err := json.Marshal(of)
	if err == nil {
		err = to.Write(name, data)
	}
	if err != nil {
		return fmt.Errorf("keeping the map: %w", err)
	}
	return nil
}
