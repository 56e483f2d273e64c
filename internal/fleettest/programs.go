package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Programs are built on first use, once for all tests of a package.
type Programs struct {
	dir   string
	build func() error
}

// NewPrograms builds packages of a folder when they are asked for.
func NewPrograms(folder string, packages ...string) (*Programs, error) {
	dir, err := os.MkdirTemp("", "palisade-programs-")
	if err != nil {
		return nil, err
	}
	return &Programs{dir: dir, build: sync.OnceValue(func() error {
		cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...) //nolint:gosec,noctx // tests name their own programs, which outlive each of them
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", folder, err, out)
		}
		return nil
	})}, nil
}

// Path is that of a program.
func (p *Programs) Path(t *testing.T, name string) string {
	t.Helper()
	if err := p.build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(p.dir, name)
}

// Remove removes them.
func (p *Programs) Remove() error { return os.RemoveAll(p.dir) }
