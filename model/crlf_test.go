package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEditors shows that files as other systems save them read the same: CRLF line ends, a byte order mark, no line
// end at the end.
func TestEditors(t *testing.T) {
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(base) + "audit:\n  mode: relaxed # wrong\n"
	for name, text := range map[string]string{
		"unix":    text,
		"windows": "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"),
		"no end":  strings.TrimRight(text, "\n"),
	} {
		file := filepath.Join(t.TempDir(), "palisade.yaml")
		write(t, file, text)
		_, findings, err := Load(file)
		if err != nil || len(findings) != 1 || findings[0].Code != "bad-value" || findings[0].Position.Column != 9 || findings[0].Position.Line != 20 {
			t.Errorf("%s: %v, %v", name, err, findings)
		}
	}
}
