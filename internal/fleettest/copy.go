package fleettest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// CopyModel copies the folder of a model to another place, without what a fleet that runs there keeps, its sockets among it.
func CopyModel(t testing.TB, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.Name() == ".palisade":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		text, err := os.ReadFile(path) //nolint:gosec // a file of the repository
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o600) //nolint:gosec // in a folder of the test
	})
	if err != nil {
		t.Fatal(err)
	}
}
