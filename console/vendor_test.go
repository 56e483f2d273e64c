package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"
)

// TestVendored holds that every file of others is the one its manifest names, and that none has no line there.
func TestVendored(t *testing.T) {
	data, err := static.ReadFile("static/vendor/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest []struct{ File, Package, Version, Path, Licence, Integrity, SHA256 string }
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"manifest.json": true}
	for _, m := range manifest {
		known[m.File] = true
		file, err := static.ReadFile("static/vendor/" + m.File)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != m.SHA256 {
			t.Errorf("%s is not what the manifest says", m.File)
		}
		if m.Package == "" || m.Version == "" || m.Licence == "" || m.Integrity == "" || m.Path == "" {
			t.Errorf("the manifest says too little of %s", m.File)
		}
	}
	files, err := fs.ReadDir(static, "static/vendor")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("%s is not in the manifest", f.Name())
		}
	}
}
