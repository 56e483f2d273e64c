package event_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/palisade-security/palisade/event"
)

var update = flag.Bool("update", false, "write what the code says into the golden file") //nolint:gochecknoglobals // a flag of go test

// TestGolden holds the form of records byte for byte: what is written today is read for years.
func TestGolden(t *testing.T) {
	all := samples()
	all["ordinary"] = ordinary()
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "", "PROPFIND"} {
		all["method "+m] = &event.Event{Time: moment, Method: m}
	}
	golden(t, "testdata/events.golden", all)
	golden(t, "testdata/connections.golden", connections())
	golden(t, "testdata/acts.golden", acts())
	golden(t, "testdata/logs.golden", logs())
}

func golden(t *testing.T, file string, all map[string]*event.Event) {
	t.Helper()
	var got []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		got = append(event.AppendJSON(got, all[name]), '\n')
	}
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
