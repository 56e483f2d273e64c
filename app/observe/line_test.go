package observe

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
)

func TestLineCommandsNoTerminal(t *testing.T) {
	e := &event.Event{Method: "GET", Path: "/\x1b[2J\u009b31m\u202ex\u2068\xff", Query: "q=\u200f\u2028", User: &event.User{Subject: "\u202dé"}}
	line := Line(e, Style{})
	if strings.ContainsAny(line, "\x1b\u009b\u202e\u2068\u200f\u2028\u202d") || !strings.Contains(line, "é") {
		t.Fatalf("got %q", line)
	}
}
