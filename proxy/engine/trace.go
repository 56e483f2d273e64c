package engine

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// The lengths of a request id and of a traceparent, as text.
const (
	idLength    = 36
	traceLength = 55
)

// identify gives the request its id and its place in a trace. One draw of random bytes and one string serve
// both.
func (x *exchange) identify() {
	var raw [8 + 24]byte
	var text [idLength + traceLength]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	putID(text[:idLength], x.req.Received, raw[:8])
	x.trace.sampled = putTrace(text[idLength:], only(x.call.Header, "Traceparent"), raw[8:])
	s := string(text[:])
	x.req.ID, x.trace.text = s[:idLength], s[idLength:]
	x.req.TraceID = x.trace.traceID()
}

// putID writes a UUIDv7 (RFC 9562 section 5.7): milliseconds, then 12 bits of their fraction (section 6.2,
// method 3), then 62 random bits.
func putID(dst []byte, now time.Time, random []byte) {
	const variant = 0b10 << 62
	nano := now.UnixNano()
	milli, rest := nano/int64(time.Millisecond), nano%int64(time.Millisecond)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(milli)<<16|7<<12|uint64(rest)>>8)
	binary.BigEndian.PutUint64(id[8:], binary.BigEndian.Uint64(random)>>2|variant)
	hex.Encode(dst[:8], id[:4])
	hex.Encode(dst[9:13], id[4:6])
	hex.Encode(dst[14:18], id[6:8])
	hex.Encode(dst[19:23], id[8:10])
	hex.Encode(dst[24:], id[10:])
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
}

// trace is W3C Trace Context (https://www.w3.org/TR/trace-context/): the trace a client began is continued
// if its header is well formed, else a new one begins. The span is always our own.
type trace struct {
	text    string // 00-<trace id>-<span id>-<flags>
	sampled bool
}

const traceZero = "00000000000000000000000000000000"

// putTrace writes a traceparent, which continues in if that is one, and reports whether the trace is sampled.
func putTrace(dst []byte, in string, random []byte) (sampled bool) {
	copy(dst, "00-")
	dst[35], dst[52] = '-', '-'
	hex.Encode(dst[3:35], random[:16])
	hex.Encode(dst[36:52], random[16:])
	dst[53], dst[54] = '0', '0'
	if validTraceparent(in) {
		copy(dst[3:35], in[3:35])
		if in[54]&1 == 1 {
			sampled = true
			dst[54] = '1'
		}
	}
	return sampled
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
	for i := 3; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && i != 35 && i != 52 {
			return false
		}
	}
	return true
}
