package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/h2io"
)

var (
	errReset    = errors.New("the client has given the request up")
	errNotBegun = errors.New("content without a head")
	errLonger   = errors.New("more content than announced")
)

// stream is one request and its answer. It is the request's body, and the engine's Answer and Line.
type stream struct {
	c     *conn
	id    uint32
	call  engine.Call
	scope scope

	// What follows is guarded by the connection's lock.
	wake sync.Cond // signalled when anything of it changes that a read or write waits for
	gone bool      // it was reset, by either side
	over bool      // by the client

	content bytes.Buffer // of the request, not yet read
	came    int64        // bytes of it so far
	ended   bool         // no more of it comes
	toRead  int64        // bytes that the client may send
	owed    int64        // bytes that were read, and that the client does not know of yet
	until   time.Time    // reads end then; zero: never
	barred  bool         // the body cannot be read any more

	window  int64 // bytes that may be sent
	begun   bool
	bare    bool          // the answer has no content
	left    int64         // of the announced length; -1: unknown
	trailed bool          // trailers were sent, which end the answer
	frame   h2io.Mark     // its last one
	within  time.Duration // that the client has for what is written next
}

// serveAll serves s, and then what else is to be served.
func (c *conn) serveAll(s *stream) {
	for s != nil {
		s.serve()
		s = c.another()
	}
}

// another waits for another stream; nil: there is none, or enough others wait.
func (c *conn) another() *stream {
	c.mu.Lock()
	if c.idle >= mostIdle {
		c.mu.Unlock()
		return nil
	}
	c.idle++
	c.mu.Unlock()
	s := <-c.work
	c.mu.Lock()
	c.idle--
	c.mu.Unlock()
	return s
}

func (s *stream) serve() {
	whole := false
	defer func() {
		if p := recover(); p != nil { // the values may quote the request, the stack does not
			slog.ErrorContext(&s.scope, "serving a request failed", "kind", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
		s.finish(whole)
	}()
	whole = s.c.server.o.Handler.Serve(&s.scope, &s.call)
}

// finish ends the answer, or resets the stream if it is not whole.
func (s *stream) finish(whole bool) {
	s.scope.end()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.gone || c.failed != nil:
	case !whole || !s.begun || s.left > 0:
		c.out.Reset(s.id, http2.ErrCodeInternal)
	default:
		if !s.trailed {
			c.out.End(s.id, s.frame)
		}
		if !s.ended {
			c.out.Reset(s.id, http2.ErrCodeNo) // nobody reads what is left of the request
		}
	}
	s.gone = true
	delete(c.streams, s.id)
	c.credit(int64(s.content.Len()))
	if len(c.streams) == 0 {
		c.since = time.Now()
		if c.leaving {
			c.farewell(http2.ErrCodeNo)
		}
	}
	c.out.Flush()
}

// cancelled notes that the client has given the stream up. The lock is held.
func (s *stream) cancelled() {
	s.gone, s.over = true, true
	s.scope.end()
	s.wake.Broadcast()
}

// reset ends a stream for an error of the client.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.Held() > h2io.MostHeld {
		c.broke(errHoards)
		return
	}
	if s := c.streams[id]; s != nil {
		s.gone = true
		s.scope.end()
		s.wake.Broadcast()
	}
	c.out.Reset(id, code)
	c.out.FlushBeside()
}

// err is why nothing moves on the stream any more. The lock is held.
func (s *stream) err() error {
	switch {
	case s.c.failed != nil:
		return s.c.failed
	case s.gone:
		return errReset
	}
	return nil
}

// wait waits until something changes, or by passes. The lock is held before and after.
func (s *stream) wait(by time.Time) {
	if by.IsZero() {
		s.wake.Wait()
		return
	}
	late := time.AfterFunc(time.Until(by), func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.wake.Broadcast()
	})
	s.wake.Wait()
	late.Stop()
}

func passed(by time.Time) bool { return !by.IsZero() && !time.Now().Before(by) }

// Read reads content as it comes. A body cut short ends with io.ErrUnexpectedEOF.
func (s *stream) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case s.barred:
			return 0, os.ErrDeadlineExceeded
		case s.content.Len() > 0:
			n, _ := s.content.Read(p) // there is something
			s.credit(int64(n))
			return n, nil
		case s.ended:
			return 0, io.EOF
		case s.err() != nil:
			return 0, io.ErrUnexpectedEOF
		case passed(s.until):
			return 0, os.ErrDeadlineExceeded
		}
		s.wait(s.until)
	}
}

// AtHand is that of upstream.Request.
func (s *stream) AtHand() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.ended {
		return -1
	}
	return s.content.Len()
}

// credit lets the client send n bytes more, which it learns when that is worth a frame.
func (s *stream) credit(n int64) {
	c := s.c
	if s.owed += n; s.owed >= streamWindow/4 && !s.ended && !s.gone {
		c.out.Widen(s.id, s.owed)
		s.toRead += s.owed
		s.owed = 0
		c.out.FlushBeside()
	}
	c.credit(n)
}

func (c *conn) credit(n int64) {
	if c.owed += n; c.owed >= connWindow/4 && c.failed == nil {
		c.out.Widen(0, c.owed)
		c.toRead += c.owed
		c.owed = 0
		c.out.FlushBeside()
	}
}

// ReadBy implements engine.Line.
func (s *stream) ReadBy(t time.Time) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.barred {
		s.barred = !t.After(time.Now())
		s.until = t
		s.wake.Broadcast()
	}
}

// WriteWithin implements engine.Line.
func (s *stream) WriteWithin(d time.Duration) {
	s.c.mu.Lock()
	s.within, s.c.out.Patience = d, max(d, s.c.server.o.Header)
	s.c.mu.Unlock()
}

// Switch implements engine.Line.
func (s *stream) Switch(field.List) (net.Conn, error) { return nil, http.ErrNotSupported }

// Begin implements engine.Answer.
func (s *stream) Begin(status int, h field.List, length int64) {
	c := s.c
	date := c.server.date.At(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	s.begun, s.left = true, length
	full := status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified // RFC 9110, section 6.4.1
	s.bare = s.call.Method == http.MethodHead || !full
	if s.err() != nil {
		return
	}
	c.out.BeginFields()
	c.out.Field(":status", strconv.Itoa(status), false)
	for _, f := range h {
		switch f.Name {
		case "Connection", "Date", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade": // of the connection, or ours
			continue
		case "Content-Length":
			if !s.bare || !full {
				continue
			}
		case "Content-Type":
			if status == http.StatusNotModified {
				continue
			}
		}
		c.add(f)
	}
	c.out.Field("date", date, false)
	switch {
	case s.bare:
		s.left = -1
	case length >= 0:
		c.out.Field("content-length", strconv.FormatInt(length, 10), false)
	}
	var flags http2.Flags
	if s.trailed = length == 0 && h.Get("Grpc-Status") != ""; s.trailed {
		flags = http2.FlagHeadersEndStream // such a head is the end as well: clients take no status from one that another frame ends
	}
	s.frame = c.out.EndFields(s.id, flags)
}

// Write implements engine.Answer.
func (s *stream) Write(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !s.begun:
		return 0, errNotBegun
	case s.bare:
		return len(p), nil
	case s.left >= 0 && int64(len(p)) > s.left:
		return 0, errLonger
	}
	written := 0
	for written < len(p) {
		n, err := s.room(len(p) - written)
		if err != nil {
			return written, err
		}
		s.window -= int64(n)
		c.window -= int64(n)
		if s.left >= 0 {
			s.left -= int64(n)
		}
		s.frame = c.out.Add(http2.FrameData, 0, s.id, p[written:written+n])
		written += n
	}
	return written, nil
}

// room waits until some of n bytes may be sent, and returns how many.
func (s *stream) room(n int) (int, error) {
	c := s.c
	var by time.Time
	for {
		if err := s.err(); err != nil {
			return 0, err
		}
		n := int(min(int64(min(n, c.out.Frame)), s.window, c.window))
		if n > 0 && c.out.Held() < h2io.HoldBytes {
			return n, nil
		}
		if c.out.Held() > 0 && !c.out.Writing() {
			c.out.Flush() // what lies here may be what the client waits for
			continue
		}
		if by.IsZero() && s.within > 0 {
			by = time.Now().Add(s.within)
		} else if passed(by) {
			return 0, os.ErrDeadlineExceeded
		}
		c.out.Waiting++
		s.wait(by)
		c.out.Waiting--
	}
}

// Flush implements engine.Answer.
func (s *stream) Flush() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.out.Flush()
	return s.err()
}

// Trailer implements engine.Answer.
func (s *stream) Trailer(h field.List) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.trailed || s.bare || s.left > 0 || s.err() != nil {
		return
	}
	s.trailed = true
	c.out.BeginFields()
	for _, f := range h {
		c.add(f)
	}
	c.out.EndFields(s.id, http2.FlagHeadersEndStream)
}

// add adds a field. What could end it early in HTTP/1.1, behind the client, becomes a space.
func (c *conn) add(f field.Field) {
	for i := range len(f.Value) {
		if control(f.Value[i]) {
			b := []byte(f.Value)
			for i := range b {
				if control(b[i]) {
					b[i] = ' '
				}
			}
			f.Value = string(b)
			break
		}
	}
	c.out.Field(h2io.Lower(f.Name), f.Value, f.Name == "X-Request-Id")
}

func control(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }
