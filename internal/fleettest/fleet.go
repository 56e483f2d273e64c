// Package fleettest is what tests need around a fleet: a folder with its model on ports of its own, its programs, what
// it says, and clients of its edge. How the fleet is run belongs to the test. It is for tests only.
package fleettest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fleet is a folder with a model, gone when the test ends.
type Fleet struct {
	T        *testing.T
	Dir      string
	Edge     string // host:port, where clients find it
	Host     string // that clients ask for
	Messages Output // for people
}

// New makes an empty folder.
func New(t *testing.T) *Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "palisade-") //nolint:usetesting // t.TempDir can be too long for the control socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &Fleet{T: t, Dir: dir}
}

// Path is that of a file in the folder.
func (f *Fleet) Path(name string) string { return filepath.Join(f.Dir, name) }

// Read returns a file of the folder.
func (f *Fleet) Read(name string) string {
	f.T.Helper()
	return Read(f.T, f.Path(name))
}

// Read returns a file.
func Read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Write replaces a file as editors do: a new one takes its name.
func (f *Fleet) Write(name, text string) {
	f.T.Helper()
	path := f.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		f.T.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		f.T.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		f.T.Fatal(err)
	}
}

// Edit replaces texts of a file, given as pairs of old and new; each must be there.
func (f *Fleet) Edit(name string, pairs ...string) {
	f.T.Helper()
	text := f.Read(name)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			f.T.Fatalf("%s does not hold %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	f.Write(name, text)
}

// Eventually polls until ok or the test's patience, a minute, is over.
func (f *Fleet) Eventually(what string, ok func() bool) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(f.T.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			f.T.Fatalf("not in time: %s\n%s", what, &f.Messages)
		case <-tick.C:
		}
	}
}

// Says waits for a message.
func (f *Fleet) Says(text string) {
	f.T.Helper()
	f.Eventually(text, func() bool { return strings.Contains(f.Messages.String(), text) })
}

// Output is what something that runs writes; it can be read meanwhile.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Reset forgets what was written.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Reset()
}
