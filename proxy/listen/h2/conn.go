package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/h2io"
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
	ctx    context.Context //nolint:containedctx // its values are those of the requests
	work   chan *stream    // to goroutines that have served one before
	served sync.WaitGroup

	// The reader's own.
	in    *h2io.Input
	fresh []*stream // that have begun and are not yet served

	mu         sync.Mutex // guards what follows
	out        h2io.Output
	streams    map[uint32]*stream
	last       uint32    // the newest stream of the client
	idle       int       // goroutines that wait for work
	since      time.Time // no stream is open since then
	window     int64     // bytes of content that may be sent,
	peerWindow int64     // and of a new stream
	toRead     int64     // bytes of content that the client may send
	owed       int64     // bytes that were read, and that the client does not know of yet
	pinged     bool      // a ping is under way
	leaving    bool      // the client has been told to send no more requests
	finished   bool      // it has been told that nothing follows
	failed     error
}

// serve reads the connection to its end.
func (c *conn) serve() {
	err := c.begin()
	for err == nil {
		var f http2.Frame
		if f, err = c.in.Next(); err == nil {
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
		_, _ = io.CopyN(io.Discard, c.in, h2io.MostHeld)   // a reset would take the last words away
	}
	c.fail(errGone)
	close(c.work)
	c.served.Wait()
	_ = c.nc.Close() // nobody is left to be told
	c.server.open.Remove(c)
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
	c.out.Settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: mostStreams}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.server.o.HeaderBytes)})
	c.out.Widen(0, connWindow-h2io.InitialWindow)
	c.out.Flush()
	c.mu.Unlock()
	f, err := c.in.Next()
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
	if !c.finished {
		_ = c.nc.SetReadDeadline(t) // fails only on a closed connection, which the next read finds out
	}
}

// silent decides about a client that has sent nothing for a while.
func (c *conn) silent() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.finished:
		return 0, errGone
	case len(c.streams) == 0 && time.Since(c.since) >= c.server.o.Idle:
		return 0, errIdle
	case c.pinged:
		return 0, errSilent
	}
	c.pinged = true
	c.out.Add(http2.FramePing, 0, 0, make([]byte, 8))
	c.out.FlushBeside()
	return pingWait, nil
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
	c.out.GoAway(c.last, http2.ErrCodeNo)
	c.out.FlushBeside()
}

// farewell says why nothing follows; who reads ends the connection then. The lock is held.
func (c *conn) farewell(code http2.ErrCode) {
	if c.finished || c.failed != nil {
		return
	}
	c.finished, c.leaving = true, true
	c.out.GoAway(c.last, code)
	c.out.FlushBeside()
	_ = c.nc.SetReadDeadline(time.Now().Add(farewell)) // see readBy
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
	for _, s := range c.streams {
		s.scope.end()
		s.wake.Broadcast()
	}
	under := c.nc
	if secure, ok := under.(interface{ NetConn() net.Conn }); ok {
		under = secure.NetConn() // a goodbye of TLS would wait for whoever writes
	}
	_ = under.Close()
}

// company reports whether other streams than the one that ends are served. The lock is held.
func (c *conn) company() bool { return len(c.streams) > 0 }

// wakeAll lets all streams look again.
func (c *conn) wakeAll() {
	for _, s := range c.streams {
		s.wake.Broadcast()
	}
}
