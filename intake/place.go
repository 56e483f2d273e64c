package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxPlaces bounds the file in which a collector keeps how far it has come, in bytes.
const maxPlaces = 4 << 20

// loadPlace reads how far a collector has come. What is not there, or cannot be read, is no place: then it begins anew, and
// what it has read before comes twice.
func loadPlace(path string, into any) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading how far a log was read: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxPlaces {
		return fmt.Errorf("reading how far a log was read: %s is too large", path)
	}
	_ = json.NewDecoder(f).Decode(into) // torn by a crash: as if it were not there
	return nil
}

// savePlace keeps how far a collector has come. It is on the disk when savePlace returns.
func savePlace(path string, from any) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = writeSynced(path+".tmp", text)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return fmt.Errorf("keeping how far a log was read: %w", err)
	}
	return nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
