package h1

import (
	"bytes"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
)

// scanner finds the end of a request's head (RFC 9112), however it comes in pieces. It takes only what every
// server reads alike, and so knows what the request is for all of them.
type scanner struct {
	limit int // bytes of a head

	// Offsets from the start of what is scanned.
	start int // of the head: behind the empty line that may stand before it
	line  int // of the line that is not complete
	seen  int // bytes searched for the line's end
	head  head
}

// reset makes s ready for another head.
func (s *scanner) reset() {
	fields := s.head.fields[:0]
	if cap(fields) > mostSpans {
		fields = nil
	}
	*s = scanner{limit: s.limit, head: head{fields: fields}}
}

// mostSpans is how many field lines a connection keeps room for.
const mostSpans = 128

// scan takes the lines of the head that b begins with and returns its length, or 0 if its end is not there. An
// empty line may stand before the head (RFC 9112, section 2.2). When called again, b must begin with the same bytes.
func (s *scanner) scan(b []byte) (int, *canon.Refusal) {
	if s.start == 0 && len(b) > 0 && b[0] == '\r' {
		if len(b) == 1 {
			return 0, nil
		}
		if b[1] != '\n' {
			return 0, refuse(CodeLineEnding, "the request begins with a bare carriage return")
		}
		s.start, s.line, s.seen = 2, 2, 2
	}
	if len(b) > s.start && s.line == s.start && !isToken[b[s.start]] && b[s.start] != '\n' {
		return 0, refuse(CodeRequestLine, "the request line does not begin with a method") // whoever speaks something else need not end a line
	}
	for {
		i := bytes.IndexByte(b[s.seen:], '\n')
		end := s.seen + i + 1
		if i < 0 {
			end = len(b)
		}
		if end-s.start > s.limit {
			return 0, s.tooLarge()
		}
		s.seen = end
		if i < 0 {
			return 0, nil
		}
		line, at := b[s.line:end-1], s.line
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, refuse(CodeLineEnding, "a line of the head ends with a bare line feed")
		}
		line = line[:len(line)-1]
		s.line = end
		var err *canon.Refusal
		switch {
		case at == s.start:
			err = s.head.requestLine(line, at)
		case len(line) == 0:
			return end, s.head.check()
		default:
			err = s.head.field(line, at)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (s *scanner) tooLarge() *canon.Refusal {
	if s.line == s.start {
		return &canon.Refusal{Code: canon.CodeTargetTooLong, Text: "the request line is longer than the limit", Kind: proxy.KindTargetTooLong}
	}
	return &canon.Refusal{Code: canon.CodeHeaderTooLarge, Text: "the request's head is larger than the limit", Kind: proxy.KindHeaderTooLarge}
}
