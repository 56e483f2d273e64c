package egress

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/palisade-security/palisade/proxy/listen/h1"
)

// asked is the client's side of a connection over plain HTTP. What is read from it is what the client says, as it says it; but
// of each request nothing before its whole head has been read strictly, and check has let it pass.
type asked struct {
	half
	ctx    context.Context //nolint:containedctx // the connection's scope: its end ends what waits
	follow *h1.Follower
	check  func(*h1.Head) error
	answer *switching // of the first request, if that asks for another protocol

	held   []byte // read, and not given out
	room   []byte // the memory of held
	passed int    // bytes of held that go on
	failed error  // why nothing else does
	ended  error  // how the client ended
	waits  bool   // for the answer
	open   bool   // the protocol is another one: nothing is looked into any more
}

// mostRoom is the memory that a connection at rest may keep.
const mostRoom = 16 << 10

// Read returns what may go on. An error of the check comes after all that was let pass before.
func (a *asked) Read(p []byte) (int, error) {
	for {
		if n := copy(p, a.held[:a.passed]); n > 0 {
			a.held, a.passed = a.held[n:], a.passed-n
			return n, nil
		}
		switch {
		case a.failed != nil:
			return 0, a.failed
		case a.waits:
			a.wait()
		case a.ended == nil:
			a.fill(p)
		case len(a.held) > 0 && errors.Is(a.ended, io.EOF):
			return 0, io.ErrUnexpectedEOF // a part of a head, which nobody has heard of
		default:
			return 0, a.ended
		}
		if !a.waits {
			a.judge()
		}
	}
}

// fill reads on, by way of p.
func (a *asked) fill(p []byte) {
	n, err := a.Conn.Read(p)
	a.ended = err
	if len(a.held) == 0 {
		a.held = a.room[:0]
	}
	a.held = append(a.held, p[:n]...)
	a.room = nil
	if cap(a.held) <= mostRoom {
		a.room = a.held
	}
}

// judge finds out how much of what is held goes on.
func (a *asked) judge() {
	for a.passed < len(a.held) && a.failed == nil {
		if a.open {
			a.passed = len(a.held)
			return
		}
		n, head, why := a.follow.Next(a.held[a.passed:])
		switch {
		case why != nil:
			a.failed = unclear(malformed(why.Text))
			return
		case head != nil:
			if a.failed = a.check(head); a.failed != nil {
				return
			}
		case n == 0:
			return
		}
		a.passed += n
		if head != nil && a.answer != nil {
			a.waits = true
			return
		}
	}
}

// wait waits until it is known which protocol comes next.
func (a *asked) wait() {
	select {
	case a.open = <-a.answer.switched:
		a.answer, a.waits = nil, false
	case <-a.ctx.Done():
		a.failed = net.ErrClosed
	}
}

// half is a connection whose ends can be told.
type half struct{ net.Conn }

// CloseWrite ends what is said.
func (h half) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return h.Close()
}
