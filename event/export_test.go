package event

import (
	"encoding/json"
	"reflect"
	"testing"
)

// Agree fails unless a line that is scanned is the same event as when it is read as any JSON. It reports whether it is scanned.
func Agree(t *testing.T, line []byte) bool {
	t.Helper()
	if isLog(line) {
		return agree(t, line, &wireLog{}, &wireLog{})
	}
	return agree(t, line, &wire{}, &wire{})
}

type shape interface {
	scanned(line []byte) bool
	event() (*Event, error)
}

func agree(t *testing.T, line []byte, fast, general shape) bool {
	t.Helper()
	if !fast.scanned(line) {
		return false
	}
	if err := json.Unmarshal(line, general); err != nil {
		t.Fatalf("%v: scanned was %q", err, line)
	}
	got, err := fast.event()
	want, err2 := general.event()
	if (err == nil) != (err2 == nil) || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nscanned %+v %v\nread    %+v %v", line, got, err, want, err2)
	}
	return true
}
