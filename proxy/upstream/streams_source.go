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
	mark    h2io.Mark   // the stream's last frame; under the connection's lock
	over    atomic.Bool // nobody wants the rest
	begun   atomic.Bool // something of the body was read
	lent    *[]byte     // what a small body was read to
	reading sync.Mutex
}

// pieces are for bodies on their way; a pool is shared by design.
var pieces = sync.Pool{New: func() any { b := make([]byte, h2io.FrameBytes); return &b }}

// gather reads a body that is small and at hand. It returns nil if it is not.
func (s *streamsSource) gather() ([]byte, error) {
	r := s.x.request
	n := -1
	switch {
	case r.ExpectContinue:
	case r.Rewind != nil && r.Length >= 0 && r.Length <= mostInline && r.Rewind():
		n = int(r.Length)
	case r.AtHand != nil:
		n = r.AtHand()
	}
	if n < 0 || n >= mostInline {
		return nil, nil
	}
	s.lent, _ = pieces.Get().(*[]byte)
	b := (*s.lent)[:0]
	for {
		m, err := s.read((*s.lent)[len(b):])
		b = b[:len(b)+m]
		switch {
		case err == io.EOF && r.Length >= 0 && int64(len(b)) != r.Length: //nolint:errorlint // only the bare value is an ordinary end
			err = bodyError(io.ErrUnexpectedEOF)
		case err == nil && (len(b) == len(*s.lent) || r.Length >= 0 && int64(len(b)) > r.Length):
			err = bodyError(errLonger)
		case err == io.EOF: //nolint:errorlint // see above
			return b, nil
		}
		if err != nil {
			s.giveBack()
			return nil, err
		}
	}
}

func (s *streamsSource) giveBack() {
	pieces.Put(s.lent)
	s.lent = nil
}

// send sends the body to its end, each piece at once. What was read before is sent first, and may be all.
func (s *streamsSource) send(before []byte, all bool) {
	x := s.x
	c := x.conn
	if len(before) > 0 || all {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.add(before) {
			s.finish()
		}
		return
	}
	piece, _ := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	left := x.request.Length
	if !s.wanted() {
		return
	}
	for {
		n, err := s.read(*piece)
		if left >= 0 && (err == nil || err == io.EOF) { //nolint:errorlint // only the bare value is an ordinary end
			switch left -= int64(n); {
			case left < 0:
				n, err = 0, bodyError(errLonger)
			case left > 0 && err != nil:
				n, err = 0, bodyError(io.ErrUnexpectedEOF)
			case left == 0:
				err = io.EOF
			}
		}
		if !s.pass((*piece)[:n], err) {
			return
		}
	}
}

// pass sends a piece, and what reading it ended with. It returns false if nothing follows.
func (s *streamsSource) pass(p []byte, err error) bool {
	x := s.x
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !s.add(p):
		return false
	case err == io.EOF: //nolint:errorlint // only the bare value is an ordinary end
		s.finish()
	case err != nil && !x.over:
		c.endStream(x.id, http2.ErrCodeCancel, err) // the service must not take what it got for the whole
	}
	c.out.Flush()
	return err == nil
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
			s.put(p[:n])
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

// put adds bytes for which there is room. The lock is held.
func (s *streamsSource) put(p []byte) {
	s.x.window -= int64(len(p))
	s.x.conn.window -= int64(len(p))
	s.mark = s.x.conn.out.Add(http2.FrameData, 0, s.x.id, p)
}

// finish ends the request. The lock is held.
func (s *streamsSource) finish() {
	x := s.x
	c := x.conn
	if x.over || x.ended && x.err != nil || c.failed != nil {
		return
	}
	x.asked()
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
