package h2

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/engine"
)

const (
	initialWindow = 65535 // RFC 9113, section 6.9.2
	mostWindow    = 1<<31 - 1
	tableBytes    = 4 << 10 // of HPACK's table, in either direction
)

var (
	errGone    = errors.New("the connection has ended")
	errSilent  = errors.New("the client does not answer a ping")
	errIdle    = errors.New("the client asks nothing")
	errPreface = errors.New("the connection does not begin with the preface")
	errHoards  = errors.New("the client does not read what it asked for")
)

// conn is one connection. A goroutine of its own reads it; each stream is served by another.
type conn struct {
	server *Server
	nc     net.Conn
	facts  *engine.Conn
	ctx    context.Context //nolint:containedctx // the connection's scope, which its requests share
	cancel context.CancelFunc
	work   chan *stream // to goroutines that have served one before
	served sync.WaitGroup

	// The reader's own.
	in     *bufio.Reader
	frames *http2.Framer
	by     time.Time // read deadline in force
	pinged bool      // a ping is under way

	mu       sync.Mutex // guards what follows
	streams  map[uint32]*stream
	last     uint32    // the newest stream of the client
	idle     int       // goroutines that wait for work
	since    time.Time // no stream is open since then
	window   int64     // bytes of content that may be sent
	toRead   int64     // bytes of content that the client may send
	owed     int64     // bytes that were read, and that the client does not know of yet
	peer     peer
	leaving  bool // the client has been told to send no more requests
	finished bool // it has been told that nothing follows
	failed   error
	output
}

// peer is what the client has set for what is sent to it.
type peer struct {
	window int64 // of new streams
	frame  int   // bytes of a frame
}

// serve reads the connection to its end.
func (c *conn) serve() {
	err := c.begin()
	for err == nil {
		var f http2.Frame
		if f, err = c.next(); err == nil {
			err = c.take(f)
		}
		if one, ok := errors.AsType[http2.StreamError](err); ok {
			c.reset(one.StreamID, one.Code)
			err = nil
		}
	}
	if code, told := codeOf(err); told {
		c.mu.Lock()
		c.farewell(code)
		c.mu.Unlock()
		_ = c.nc.SetReadDeadline(time.Now().Add(farewell)) // a connection that has ended gives nothing to read
		_, _ = io.CopyN(io.Discard, c.in, mostHeld)        // a reset would take the last words away
	}
	c.fail(errGone)
	close(c.work)
	c.served.Wait()
	_ = c.nc.Close() // nobody is left to be told
	c.server.forget(c)
}

// codeOf is what the client is told of an error of its connection, if anything.
func codeOf(err error) (http2.ErrCode, bool) {
	if whole, ok := errors.AsType[http2.ConnectionError](err); ok {
		return http2.ErrCode(whole), true
	}
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return http2.ErrCodeFrameSize, true
	case errors.Is(err, errHoards):
		return http2.ErrCodeEnhanceYourCalm, true
	case errors.Is(err, errIdle):
		return http2.ErrCodeNo, true
	}
	return 0, false
}

// begin exchanges prefaces (RFC 9113, section 3.4).
func (c *conn) begin() error {
	c.readBy(time.Now().Add(c.server.o.Header))
	begin := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in, begin); err != nil {
		return err
	}
	if string(begin) != http2.ClientPreface {
		return errPreface
	}
	c.mu.Lock()
	c.since = time.Now()
	c.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: mostStreams}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: c.frames.MaxHeaderListSize})
	c.updateWindow(0, connWindow-initialWindow)
	c.flush()
	c.mu.Unlock()
	f, err := c.next()
	if err != nil {
		return err
	}
	if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.take(f)
}

// readBy sets the read deadline, unless the connection is about to end.
func (c *conn) readBy(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setRead(t)
}

// setRead is readBy under the lock.
func (c *conn) setRead(t time.Time) {
	if c.by = t; !c.finished {
		_ = c.nc.SetReadDeadline(t) // fails only on a closed connection, which the next read finds out
	}
}

// next reads a frame. Between frames a client may be silent for as long as it answers pings; a frame that has begun
// must not take long. Nothing that is at hand costs a deadline.
func (c *conn) next() (http2.Frame, error) {
	const head = 9 // RFC 9113, section 4.1
	for c.in.Buffered() < head {
		rest := min(pingAfter, c.server.o.Idle)
		if now := time.Now(); c.by.Sub(now) < rest*7/8 && !c.pinged || c.by.Sub(now) > rest {
			c.readBy(now.Add(rest))
		}
		_, err := c.in.Peek(head)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		if err := c.silent(); err != nil {
			return nil, err
		}
	}
	c.pinged = false
	begin, err := c.in.Peek(head)
	if err != nil {
		return nil, err
	}
	length := int(begin[0])<<16 | int(binary.BigEndian.Uint16(begin[1:]))
	goesOn := http2.FrameType(begin[3]) == http2.FrameHeaders && http2.Flags(begin[4])&http2.FlagHeadersEndHeaders == 0
	if goesOn || c.in.Buffered() < head+length {
		c.readBy(time.Now().Add(c.server.o.Header))
	}
	return c.frames.ReadFrame()
}

// silent decides about a client that has sent nothing for a while.
func (c *conn) silent() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.finished:
		return errGone
	case len(c.streams) == 0 && now.Sub(c.since) >= c.server.o.Idle:
		return errIdle
	case c.pinged:
		return errSilent
	}
	c.pinged = true
	c.frame(http2.FramePing, 0, 0, make([]byte, 8))
	c.flushBeside()
	c.setRead(now.Add(pingWait))
	return nil
}

// leave tells the client to send no more requests, and ends the connection with the last one. It may be called at any
// time.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.failed != nil {
		return
	}
	c.leaving = true
	if len(c.streams) == 0 {
		c.farewell(http2.ErrCodeNo)
		return
	}
	c.goAway(http2.ErrCodeNo)
	c.flushBeside()
}

// farewell says why nothing follows; who reads ends the connection then. The lock is held.
func (c *conn) farewell(code http2.ErrCode) {
	if c.finished || c.failed != nil {
		return
	}
	c.finished, c.leaving = true, true
	c.goAway(code)
	c.flushBeside()
	_ = c.nc.SetReadDeadline(time.Now().Add(farewell)) // see setRead
}

// cut ends the connection without a word. It may be called at any time.
func (c *conn) cut() { c.fail(errGone) }

// fail ends everything that runs on the connection.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broke(err)
}

// broke is fail under the lock.
func (c *conn) broke(err error) {
	if c.failed != nil {
		return
	}
	c.failed = err
	c.cancel()
	c.wakeAll()
	under := c.nc
	if secure, ok := under.(interface{ NetConn() net.Conn }); ok {
		under = secure.NetConn() // a goodbye of TLS would wait for whoever writes
	}
	_ = under.Close()
}
