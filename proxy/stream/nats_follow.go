package stream

import (
	"bytes"
	"errors"
)

// natsLines cuts one direction of the protocol into lines and messages, as strictly as clients and brokers write them,
// so that nobody sees a line where somebody else sees a message. (docs.nats.io, reference of the client protocol)
type natsLines struct {
	begun []byte // a line whose end has not come yet
	left  int    // bytes of a message that are still to come, CR LF included
	whole *natsWhole
}

// natsWhole is a message that is read whole before anything of it goes on, with the line that announced it.
type natsWhole struct {
	line []byte
	body []byte // CR LF included
}

// natsSpeaker says what becomes of what one side says: it appends what goes on to out.
type natsSpeaker interface {
	// line is asked about each line, without its CR LF. If a message belongs to it, lines expects that.
	line(line, out []byte, lines *natsLines) ([]byte, error)
	// message is asked about what was read whole.
	message(m *natsWhole, out []byte) ([]byte, error)
}

const (
	natsLine  = 64 << 10 // bytes, CR LF included; brokers take 4 KiB of clients, unless told otherwise
	natsKept  = 64 << 10 // bytes of a message that is read whole
	mostWords = 6        // of a line that goes on in parts
	// mostDigits are those of a length: a gigabyte is more than a broker can be told to take.
	mostDigits = 9
)

var errNATS = errors.New("it is not the protocol of NATS")

// read reads on and appends to out what goes on. After an error the connection must be cut.
func (s *natsLines) read(in, out []byte, to natsSpeaker) ([]byte, error) {
	for len(in) > 0 {
		if s.left > 0 {
			n := min(s.left, len(in))
			var err error
			if out, err = s.more(in[:n], out, to); err != nil {
				return out, err
			}
			in = in[n:]
			continue
		}
		at := bytes.IndexByte(in, '\n') + 1
		if at == 0 {
			at = len(in)
		}
		if len(s.begun)+at > natsLine {
			return out, errNATS
		}
		line := in[:at]
		in = in[at:]
		if ends := line[at-1] == '\n'; !ends || len(s.begun) > 0 {
			s.begun = append(s.begun, line...)
			if !ends {
				return out, nil
			}
			line = s.begun
		}
		line, ok := bytes.CutSuffix(line, []byte("\r\n"))
		if !ok {
			return out, errNATS
		}
		var err error
		if out, err = to.line(line, out, s); err != nil {
			return out, err
		}
		s.begun = s.begun[:0]
	}
	return out, nil
}

// more takes bytes of a message.
func (s *natsLines) more(in, out []byte, to natsSpeaker) ([]byte, error) {
	for i, c := range []byte("\r\n") { // its last two bytes
		if at := s.left - 2 + i; at >= 0 && at < len(in) && in[at] != c {
			return out, errNATS
		}
	}
	s.left -= len(in)
	if s.whole == nil {
		return append(out, in...), nil
	}
	s.whole.body = append(s.whole.body, in...)
	if s.left > 0 {
		return out, nil
	}
	m := s.whole
	s.whole = nil
	return to.message(m, out)
}

// expect waits for the message that belongs to a line.
func (s *natsLines) expect(length []byte) error {
	n, ok := natsLength(length)
	if !ok {
		return errNATS
	}
	s.left = n + len("\r\n")
	return nil
}

// keep waits for the message that belongs to a line, and wants it whole.
func (s *natsLines) keep(line, length []byte) error {
	if err := s.expect(length); err != nil {
		return err
	}
	if s.left > natsKept {
		return errNATS
	}
	s.whole = &natsWhole{line: bytes.Clone(line)}
	return nil
}

// natsLength reads a number of bytes.
func natsLength(text []byte) (int, bool) {
	if len(text) == 0 || len(text) > mostDigits {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// natsWords are the words of a line, the first of which says what it is.
type natsWords struct {
	words [mostWords][]byte
	n     int
}

// of returns the words, and whether there are as many as there may be.
func (w *natsWords) of(least, most int) ([][]byte, bool) {
	return w.words[:w.n], w.n >= least && w.n <= most
}

// split cuts a line at its blanks. A line begins with a word and holds no control characters.
func split(line []byte) (w natsWords, err error) {
	if len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
		return w, errNATS
	}
	start := -1
	for i, c := range line {
		switch {
		case c == ' ' || c == '\t':
			if start >= 0 {
				w.n++
			}
			start = -1
			continue
		case c < ' ' || c == 0x7f || start < 0 && w.n == mostWords:
			return w, errNATS
		case start < 0:
			start = i
		}
		w.words[w.n] = line[start : i+1]
	}
	if start >= 0 {
		w.n++
	}
	return w, nil
}

// join appends a line of words.
func join(out []byte, words ...[]byte) []byte {
	for i, word := range words {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, word...)
	}
	return append(out, '\r', '\n')
}
