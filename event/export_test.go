package event

import (
	"encoding/json"
	"reflect"
	"testing"
)

// Agree fails unless a line that is scanned is the same event as when it is read as any JSON. It reports whether it is scanned.
func Agree(t *testing.T, line []byte) bool {
	t.Helper()
	var fast, general wire
	if !fast.scanned(line) {
		return false
	}
	if err := json.Unmarshal(line, &general); err != nil {
		t.Fatalf("%v: scanned was %q", err, line)
	}
	got, err := fast.event()
	want, err2 := general.event()
	if (err == nil) != (err2 == nil) || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nscanned %+v %v\nread    %+v %v", line, got, err, want, err2)
	}
	return true
}
