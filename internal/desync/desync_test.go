package desync_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/palisade-security/palisade/internal/desync"
)

func TestLoad(t *testing.T) {
	const text = `
- name: bytes
  uri: "/ж"
  method: "P\x01"
  version: HTTP/1.1
  headers:
    - name: "A\x00"
      value: "\x80\xa0"
      tier: Bad
    - name: Content-Length
      value: 3
      tier: Bad
  expected:
    tier: Severe
    reason: Why
- name: none
  uri: /
  method: GET
  version: ""
  headers:
  expected:
    tier: Acceptable
    reason: Why
`
	cases, err := desync.Load(fstest.MapFS{"a.yaml": {Data: []byte(text)}, "LICENSE": {}})
	if err != nil || len(cases) != 2 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for i, want := range []string{
		"P\x01 /ж HTTP/1.1\r\nHost: h.example\r\nA\x00: \x80\xa0\r\nContent-Length: 3\r\n\r\naaa",
		"GET /\r\nHost: h.example\r\n\r\n",
	} {
		if got := string(cases[i].Raw("h.example")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, bad := range []string{strings.Replace(text, "Severe", "Odd", 1), strings.Replace(text, "uri", "url", 1), ":"} {
		if _, err := desync.Load(fstest.MapFS{"a.yaml": {Data: []byte(bad)}}); err == nil {
			t.Error("a broken corpus was accepted")
		}
	}
}
