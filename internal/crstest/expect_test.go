package crstest

import (
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	expected, err := ReadExpected(strings.NewReader("# known\n1-1 fail because\n1-2 fail of that\n1-3 refused by the parser\n1-9 fail gone\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{Results: []Result{
		{ID: "1-1", Outcome: Failed},
		{ID: "1-2", Outcome: Passed},
		{ID: "1-3", Outcome: Failed, Detail: "d"},
		{ID: "1-4", Outcome: Refused, Detail: "d"},
		{ID: "1-5", Outcome: Passed},
	}}
	want := []string{
		"1-2 is listed and passes",
		"1-3 is listed as refused: fail (d)",
		"1-4 is not listed: refused (d)",
		"1-9 is listed and was not run",
	}
	if got := r.Compare(expected); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadExpectedRefuses(t *testing.T) {
	for _, list := range []string{"1-1 fail", "1-1 pass fine", "1-1 fail a\n1-1 fail b"} {
		if _, err := ReadExpected(strings.NewReader(list)); err == nil {
			t.Errorf("%q was taken", list)
		}
	}
}

func TestFindMarker(t *testing.T) {
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nX-CRS-Test: abc-s\r\nHost: x\r\n\r\n": "abc-s",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nX-CRS-Test: body":      "",
	} {
		if got, _ := findMarker([]byte(request)); got != want {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
}
