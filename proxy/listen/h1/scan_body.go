package h1

import "github.com/palisade-security/palisade/proxy/canon"

const (
	sizeDigits   = 15      // of a chunk's size: below 2^60 bytes
	trailerBytes = 2 << 10 // of a trailer section, names, values and line ends together
)

// part is where in a body a framing stands.
type part uint8

const (
	ended     part = iota
	inLength       // left bytes of the body remain
	inSize         // the digits of a chunk's size
	inSizeEnd      // the LF after them
	inData         // left bytes of the chunk remain
	inDataCR       // the CR after them
	inDataLF
	inTrailer // at the start of a trailer line
	inTrailerName
	inTrailerValue
	inTrailerLF
	inEndLF // the LF that ends a chunked body
)

// framing follows a request's body. Chunk extensions, white space around sizes and line ends other than CRLF
// are refused (RFC 9112, section 7.1): nobody needs them, and servers read them differently.
type framing struct {
	part  part
	left  int64 // bytes of body or chunk to come
	count int   // digits of a chunk's size, or bytes of the trailer section
}

// framingOf returns the framing of the body that follows h.
func framingOf(h *head) framing {
	switch {
	case h.chunked:
		return framing{part: inSize}
	case h.length > 0:
		return framing{part: inLength, left: h.length}
	}
	return framing{}
}

// data returns how many bytes of content come next; 0 means that take must go on.
func (s *framing) data() int64 {
	if s.part == inLength || s.part == inData {
		return s.left
	}
	return 0
}

// gave notes that n bytes of content were read.
func (s *framing) gave(n int) {
	if s.left -= int64(n); s.left > 0 {
		return
	}
	if s.part == inLength {
		s.part = ended
	} else {
		s.part = inDataCR
	}
}

// take takes what it can of b that is not content, and returns how much.
func (s *framing) take(b []byte) (int, *canon.Refusal) {
	switch s.part {
	case inSize, inSizeEnd, inDataCR, inDataLF:
		return s.chunk(b)
	case inTrailer, inTrailerName, inTrailerValue, inTrailerLF, inEndLF:
		return s.trailer(b)
	case ended, inLength, inData:
	}
	return 0, nil
}

// chunk takes the bytes between chunks.
func (s *framing) chunk(b []byte) (int, *canon.Refusal) {
	for i, c := range b {
		switch s.part {
		case inSize:
			if err := s.sizeByte(c); err != nil {
				return i, err
			}
		case inSizeEnd:
			if c != '\n' {
				return i, refuse(CodeChunk, "a chunk's size does not end with CRLF")
			}
			if s.count = 0; s.left == 0 {
				s.part = inTrailer
			} else {
				s.part = inData
			}
			return i + 1, nil
		case inDataCR:
			if c != '\r' {
				return i, refuse(CodeChunk, "a chunk is longer than its size")
			}
			s.part = inDataLF
		default: // inDataLF
			if c != '\n' {
				return i, refuse(CodeChunk, "a chunk does not end with CRLF")
			}
			s.part = inSize
		}
	}
	return len(b), nil
}

// sizeByte takes one byte of a chunk-size line.
func (s *framing) sizeByte(c byte) *canon.Refusal {
	var digit byte
	switch {
	case c >= '0' && c <= '9':
		digit = c - '0'
	case c >= 'a' && c <= 'f':
		digit = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		digit = c - 'A' + 10
	case c == '\r' && s.count > 0:
		s.part = inSizeEnd
		return nil
	case c == ';' && s.count > 0:
		return refuse(CodeChunk, "a chunk has an extension")
	default:
		return refuse(CodeChunk, "a chunk's size is not a plain hexadecimal number")
	}
	if s.count++; s.count > sizeDigits {
		return refuse(CodeChunk, "a chunk's size has too many digits")
	}
	s.left = s.left<<4 | int64(digit)
	return nil
}

// trailer takes the trailer section, up to the end of the body.
func (s *framing) trailer(b []byte) (int, *canon.Refusal) {
	for i, c := range b {
		if s.count++; s.count > trailerBytes {
			return i, refuse(CodeTrailer, "the trailer section is too long")
		}
		next, ok := s.trailerByte(c)
		if !ok {
			return i, refuse(CodeTrailer, "the trailer section is malformed")
		}
		if s.part == inEndLF {
			s.part = ended
			return i + 1, nil
		}
		s.part = next
	}
	return len(b), nil
}

// trailerByte returns where c leads and whether it may stand there.
func (s *framing) trailerByte(c byte) (part, bool) {
	switch s.part {
	case inTrailer:
		if c == '\r' {
			return inEndLF, true
		}
		return inTrailerName, isToken[c]
	case inTrailerName:
		if c == ':' {
			return inTrailerValue, true
		}
		return inTrailerName, isToken[c]
	case inTrailerValue:
		if c == '\r' {
			return inTrailerLF, true
		}
		return inTrailerValue, c == '\t' || c >= ' ' && c != 0x7f
	default: // inTrailerLF, inEndLF
		return inTrailer, c == '\n'
	}
}
