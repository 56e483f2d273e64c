package upstream

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/h2io"
)

// streamsSource sends a request's body.
type streamsSource struct {
	x       *streamsExchange
	mark    h2io.Mark     // the stream's last frame; under the connection's lock
	done    chan struct{} // closed when a sender beside has ended; nil: there is none
	over    atomic.Bool   // nobody wants the rest
	begun   atomic.Bool   // something of the body was read
	reading sync.Mutex
}

// pieces are for bodies on their way; a pool is shared by design.
var pieces = sync.Pool{New: func() any { b := make([]byte, h2io.FrameBytes); return &b }}

// send sends the body to its end, each piece at once unless all is at hand.
func (s *streamsSource) send(atHand bool) {
	x := s.x
	c := x.conn
	piece, _ := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	left := x.request.Length
	if !s.wanted() {
		return
	}
	for {
		n, err := s.read(*piece)
		if left >= 0 && err == nil || err == io.EOF { //nolint:errorlint // only the bare value is an ordinary end
			switch left -= int64(n); {
			case x.request.Length < 0:
			case left < 0:
				n, err = 0, bodyError(errLonger)
			case left > 0 && err != nil:
				n, err = 0, bodyError(io.ErrUnexpectedEOF)
			case left == 0:
				err = io.EOF
			}
		}
		c.mu.Lock()
		if n > 0 && !s.add((*piece)[:n]) {
			c.mu.Unlock()
			return
		}
		switch {
		case err == io.EOF: //nolint:errorlint // see above
			s.finish()
		case err != nil && !x.over:
			c.endStream(x.id, http2.ErrCodeCancel, err) // the service must not take what it got for the whole
		case err == nil && !atHand:
			c.out.Flush()
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// read reads some of the body. Errors but the end are of sort ErrBody.
func (s *streamsSource) read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.over.Load() {
		return 0, errBodyClosed
	}
	s.begun.Store(true)
	n, err := s.x.request.Body.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare value is an ordinary end
		err = bodyError(err)
	}
	return n, err
}

// wanted waits until the service asks for the body, if it is asked first, and reports whether it may be sent.
func (s *streamsSource) wanted() bool {
	x := s.x
	if !x.request.ExpectContinue {
		return true
	}
	c := x.conn
	wait := time.AfterFunc(continueAfter, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		x.proceed = true
		x.wake.Broadcast()
	})
	defer wait.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !x.proceed && !x.answered && !x.ended {
		x.wake.Wait()
	}
	return x.proceed && !x.answered && !x.ended
}

// add adds bytes as far as windows allow, and reports whether anybody wants more. The lock is held.
func (s *streamsSource) add(p []byte) bool {
	x := s.x
	c := x.conn
	for len(p) > 0 {
		n := int(min(int64(min(len(p), c.out.Frame)), x.window, c.window))
		switch {
		case x.ended && x.err != nil, x.over, x.unwanted, c.failed != nil:
			return false
		case n > 0 && c.out.Held() < h2io.HoldBytes:
			x.window -= int64(n)
			c.window -= int64(n)
			s.mark = c.out.Add(http2.FrameData, 0, x.id, p[:n])
			p = p[n:]
		case c.out.Held() > 0 && !c.out.Writing():
			c.out.Flush() // what lies here may be what the service waits for
		default:
			if pause := x.owner.options.Pause; pause > 0 {
				x.sendBy = time.Now().Add(pause)
			}
			c.out.Waiting++
			x.wake.Wait()
			c.out.Waiting--
			x.sendBy = time.Time{}
		}
	}
	return true
}

// finish ends the request; from now on the answer is waited for. The lock is held.
func (s *streamsSource) finish() {
	x := s.x
	c := x.conn
	if x.over || x.ended && x.err != nil || c.failed != nil {
		return
	}
	x.sent = true
	if !x.answered {
		x.by = time.Now().Add(or(x.request.HeaderTimeout, x.owner.options.Header))
	}
	if !s.trailers() {
		c.out.End(x.id, s.mark)
	}
	c.out.Flush()
}

// trailers ends the request with trailers, if there are any. The lock is held.
func (s *streamsSource) trailers() bool {
	x := s.x
	if x.request.Trailer == nil {
		return false
	}
	begun := false
	out := &x.conn.out
	for _, f := range x.request.Trailer() {
		if !isToken(f.Name) || !isFieldValue(f.Value) || !inTrailer(f.Name) {
			continue
		}
		if !begun {
			out.BeginFields()
			begun = true
		}
		out.Field(h2io.Lower(f.Name), f.Value, false)
	}
	if begun {
		out.EndFields(x.id, http2.FlagHeadersEndStream)
	}
	return begun
}

// release lets go of the body. With Interrupt, it returns once the body is not in use any more.
func (s *streamsSource) release() {
	s.over.Store(true)
	if s.x.request.Interrupt == nil {
		return
	}
	if !s.reading.TryLock() {
		s.x.request.Interrupt()
		s.reading.Lock()
	}
	s.reading.Unlock()
}

// restart reports whether a body that was let go can be sent from its beginning. There may be none.
func (s *streamsSource) restart() bool {
	if s == nil || !s.begun.Load() {
		return true
	}
	if s.x.request.Rewind == nil {
		return false
	}
	s.reading.Lock() // a body in memory keeps nobody waiting
	defer s.reading.Unlock()
	return s.x.request.Rewind()
}
