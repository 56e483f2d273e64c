package audit

import "testing"

// TestTwoWitnesses: of two processes with one folder, the second does not sign after what it has not seen.
func TestTwoWitnesses(t *testing.T) {
	own := remembered(t.TempDir())
	one, two := &ownMemory{remembered: own}, &ownMemory{remembered: own}
	for _, m := range []*ownMemory{one, two} {
		if text, err := m.Last(); text != nil || err != nil {
			t.Fatal(text, err)
		}
	}
	must(t, one.Keep([]byte("one")))
	if err := two.Keep([]byte("two")); err == nil {
		t.Error("both were kept")
	}
	if text, err := two.Last(); string(text) != "one" || err != nil {
		t.Error(string(text), err)
	}
	must(t, two.Keep([]byte("two")))
}
