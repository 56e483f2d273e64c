package listen

import (
	"bytes"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
)

// part is where in a message a scanner stands.
type part uint8

const (
	inHead    part = iota // at the start of a request, or within its head
	inLength              // left bytes of a body remain
	inSize                // the digits of a chunk's size
	inSizeEnd             // the LF after them
	inData                // left bytes of a chunk remain
	inDataCR              // the CR after them
	inDataLF
	inTrailer // at the start of a trailer line
	inTrailerName
	inTrailerValue
	inTrailerLF
	inEndLF // the LF that ends a chunked body
)

// scanner follows the framing of HTTP/1.x requests (RFC 9112) on one connection. It takes only what every
// server reads alike, and so knows where each request begins and ends for all of them.
type scanner struct {
	limit int // bytes of a head
	part  part
	left  int64 // bytes of body or chunk to come
	count int   // digits of a chunk's size, or bytes of the trailer section
	heads int   // requests whose head was taken

	// Within a head, as offsets from its start.
	line  int  // start of the line that is not complete
	seen  int  // bytes searched for the line's end
	blank bool // an empty line was skipped before the head
	head  head
}

// advance takes what it can of b, which begins where the last call stopped, and returns how much: whole
// heads, and whatever there is of bodies. An empty line before a request (RFC 9112, section 2.2) is cut out of
// b, which is returned too. What follows a refusal must not be taken.
func (s *scanner) advance(b []byte) (int, []byte, *canon.Refusal) {
	i := 0
	for i < len(b) {
		if s.part != inHead {
			n, err := s.body(b[i:])
			if i += n; err != nil {
				return i, b, err
			}
			continue
		}
		if b[i] == '\r' && s.seen <= 1 && !s.blank {
			if s.seen = 1; i+1 == len(b) {
				return i, b, nil
			}
			if b[i+1] != '\n' {
				return i, b, refuse(CodeLineEnding, "the request begins with a bare carriage return")
			}
			b = append(b[:i], b[i+2:]...)
			s.blank, s.seen = true, 0
			continue
		}
		n, err := s.scanHead(b[i:])
		if n == 0 || err != nil {
			return i, b, err
		}
		i += n
	}
	return i, b, nil
}

// scanHead takes the lines of the head that b begins with, and returns its length, or 0 if its end is not
// there.
func (s *scanner) scanHead(b []byte) (int, *canon.Refusal) {
	for {
		i := bytes.IndexByte(b[s.seen:], '\n')
		end := s.seen + i + 1
		if i < 0 {
			end = len(b)
		}
		if end > s.limit {
			return 0, s.tooLarge()
		}
		s.seen = end
		if i < 0 {
			return 0, nil
		}
		line, first := b[s.line:end-1], s.line == 0
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, refuse(CodeLineEnding, "a line of the head ends with a bare line feed")
		}
		line = line[:len(line)-1]
		s.line = end
		var err *canon.Refusal
		switch {
		case first:
			err = s.head.requestLine(line)
		case len(line) == 0:
			return s.endHead()
		default:
			err = s.head.field(line)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (s *scanner) tooLarge() *canon.Refusal {
	if s.line == 0 {
		return &canon.Refusal{Code: canon.CodeTargetTooLong, Text: "the request line is longer than the limit", Kind: proxy.KindTargetTooLong}
	}
	return &canon.Refusal{Code: canon.CodeHeaderTooLarge, Text: "the request's head is larger than the limit", Kind: proxy.KindHeaderTooLarge}
}

func (s *scanner) endHead() (int, *canon.Refusal) {
	if err := s.head.check(); err != nil {
		return 0, err
	}
	n := s.seen
	switch {
	case s.head.chunked:
		s.part, s.left, s.count = inSize, 0, 0
	case s.head.length > 0:
		s.part, s.left = inLength, s.head.length
	}
	s.heads++
	s.line, s.seen, s.blank, s.head = 0, 0, false, head{}
	return n, nil
}

// fresh reports whether the last request has ended and nothing of another has come.
func (s *scanner) fresh() bool { return s.part == inHead && s.seen == 0 && !s.blank }
