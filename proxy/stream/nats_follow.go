package stream

import "github.com/palisade-security/palisade/proxy"

// natsClient follows what a client says after its CONNECT, so that it says no second one: the broker would take it,
// credentials and all. It reads lines and lengths as strictly as clients write them, so that the broker cannot see a
// line where it sees a message.
type natsClient struct {
	rest
	state natsState
}

// Read returns what the client says, as long as it is what a client may say.
func (c *natsClient) Read(p []byte) (int, error) {
	n, err := c.rest.Read(p)
	if !c.state.follow(p[:n]) {
		return 0, Refusal(proxy.KindMalformed, "nats-protocol", "the client says what a client may not say after its CONNECT")
	}
	return n, err
}

// natsState is where in the protocol a client is.
type natsState struct {
	where  natsWhere
	op     [5]byte // of this line
	opLen  int
	tokens int   // behind the op, so far
	digits int   // of the last token; -1: it is no number
	number int64 // the last token
	inside bool  // of a token
	left   int64 // bytes of the message, CR LF included
}

type natsWhere uint8

const (
	natsOp      natsWhere = iota // in the first word of a line
	natsArgs                     // behind it
	natsLF                       // CR was read
	natsMessage                  // in a message
)

// mostDigits are those of a length: a gigabyte is more than a broker can be told to take.
const mostDigits = 9

// follow reads on; false means that the client must be cut off.
func (s *natsState) follow(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if s.where == natsMessage && s.left > 2 { // which is nearly all there is: in one step
			skip := min(s.left-2, int64(len(b)-i))
			s.left -= skip
			i += int(skip) - 1
			continue
		}
		if !s.step(b[i]) {
			return false
		}
	}
	return true
}

func (s *natsState) step(c byte) bool {
	switch s.where {
	case natsMessage: // its CR LF
		s.left--
		if s.left == 0 {
			s.where = natsOp
			return c == '\n'
		}
		return c == '\r'
	case natsLF:
		return c == '\n' && s.lineEnds()
	case natsOp:
		switch {
		case c == '\r':
			s.where = natsLF
		case c == ' ' || c == '\t':
			s.where = natsArgs
		case s.opLen == len(s.op) || c < 'A' || c > 'Z' || s.opLen == 0 && c == 'C':
			return false
		default:
			s.op[s.opLen] = c
			s.opLen++
			return true
		}
		return s.opKnown()
	case natsArgs:
		return s.arg(c)
	}
	return false
}

func (s *natsState) arg(c byte) bool {
	switch {
	case c == '\r':
		s.where = natsLF
	case c == ' ' || c == '\t':
		s.inside = false
	case c < ' ' || c == 0x7f:
		return false
	default:
		if !s.inside {
			s.inside = true
			s.tokens++
			s.digits, s.number = 0, 0
		}
		switch {
		case s.digits < 0 || c < '0' || c > '9' || s.digits == mostDigits:
			s.digits = -1
		default:
			s.digits++
			s.number = 10*s.number + int64(c-'0')
		}
	}
	return true
}

func (s *natsState) opKnown() bool {
	switch string(s.op[:s.opLen]) {
	case "PUB", "HPUB", "SUB", "UNSUB", "PING", "PONG":
		return true
	}
	return false
}

// lineEnds begins the next line, or the message that belongs to this one.
func (s *natsState) lineEnds() bool {
	least := 0
	switch string(s.op[:s.opLen]) {
	case "PUB":
		least = 2 // subject, or subject and reply; length
	case "HPUB":
		least = 3 // as above; length of the header, length of all
	}
	length, hasMessage := s.number, least > 0
	if hasMessage && (s.digits <= 0 || s.tokens < least || s.tokens > least+1) {
		return false
	}
	*s = natsState{}
	if hasMessage {
		s.where, s.left = natsMessage, length+2
	}
	return true
}
