package engine

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// trace is W3C Trace Context (https://www.w3.org/TR/trace-context/): the trace a client began is continued
// if its header is well formed, else a new one begins. The span is always our own.
type trace struct {
	text    string // 00-<trace id>-<span id>-<flags>
	sampled bool
}

const traceZero = "00000000000000000000000000000000"

func (t *trace) begin(in []string) {
	var raw [24]byte
	var buf [55]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	t.sampled = false
	copy(buf[:], "00-")
	buf[35], buf[52] = '-', '-'
	hex.Encode(buf[3:35], raw[:16])
	hex.Encode(buf[36:52], raw[16:])
	buf[53], buf[54] = '0', '0'
	if len(in) == 1 && validTraceparent(in[0]) {
		copy(buf[3:35], in[0][3:35])
		if in[0][54]&1 == 1 {
			t.sampled = true
			buf[54] = '1'
		}
	}
	t.text = string(buf[:])
}

func (t *trace) traceID() string { return t.text[3:35] }
func (t *trace) spanID() string  { return t.text[36:52] }
func (t *trace) header() string  { return t.text }

// validTraceparent accepts version 00 in lower-case hex with non-zero ids.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	if s[3:35] == traceZero || s[36:52] == traceZero[:16] {
		return false
	}
	return strings.IndexFunc(s[3:], func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && r != '-'
	}) < 0 && strings.Count(s, "-") == 3
}
