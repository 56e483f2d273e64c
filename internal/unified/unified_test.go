package unified_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/unified"
)

func TestDiff(t *testing.T) {
	if got := unified.Diff("x", "a\n", "a\n"); got != "" {
		t.Errorf("got %q", got)
	}
	want := "--- a/d/x\n+++ b/d/x\n@@ -1,5 +1,4 @@\n a\n-b\n c\n d\n e\n@@ -9,4 +8,5 @@\n i\n j\n k\n-l\n\\ No newline at end of file\n+l\n+m\n"
	if got := unified.Diff("d/x", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl", "a\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPatchApplies gives random differences to patch.
func TestPatchApplies(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("there is no patch here")
	}
	r := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	for round := range 60 {
		var before, after strings.Builder
		for range r.IntN(60) {
			line := fmt.Sprintf("line %d\n", r.IntN(12))
			switch r.IntN(9) {
			case 0:
				before.WriteString(line)
			case 1:
				after.WriteString(line)
			default:
				before.WriteString(line)
				after.WriteString(line)
			}
		}
		a, b := before.String(), after.String()
		if round%3 == 0 {
			a = strings.TrimSuffix(a, "\n")
		}
		if round%4 == 0 {
			b = strings.TrimSuffix(b, "\n")
		}
		if a == b || a == "" || b == "" {
			continue
		}
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, []byte(a), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "patch", "-p1", "--fuzz=0")
		c.Dir, c.Stdin = dir, strings.NewReader("# words before\n"+unified.Diff("x", a, b))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, unified.Diff("x", a, b))
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != b {
			t.Fatalf("round %d: got %q, %v, want %q", round, got, err, b)
		}
	}
}
