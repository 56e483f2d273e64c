package upstream

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/h2io"
)

// The bounds of what a service may send that nobody has read, in bytes.
const (
	streamsWindow = 256 << 10 // of an answer
	connWindow    = 1 << 20   // and that is on its way on a connection

	mostStreams  = 1 << 30 // of a connection's life, below the end of their numbers
	firstStreams = 100     // at once, until the service says how many it takes
)

var (
	errSilent    = errors.New("the service does not answer a ping")
	errUnbegun   = errors.New("the service has not begun with the request")
	errGivenUp   = errors.New("the connection is given up")
	errNotStream = malformed("not HTTP/2")
)

// streamsConn is a connection that exchanges share. A goroutine of its own reads it.
type streamsConn struct {
	owner   *Streams
	nc      net.Conn
	address string
	renewal uint64 // of the certificate it was made with
	in      *h2io.Input
	woken   []*streamsExchange // by what was read; the reader's own
	beside  sync.WaitGroup

	mu       sync.Mutex // guards what follows; taken after the owner's
	out      h2io.Output
	streams  map[uint32]*streamsExchange
	reserved int    // exchanges that have a place, open streams included
	most     int    // at once
	next     uint32 // stream
	used     bool   // has carried an exchange
	began    bool   // the service's settings have come
	since    time.Time
	window   int64 // bytes of content that may be sent,
	theirs   int64 // and of a new stream
	toRead   int64 // bytes of content that the service may send
	owed     int64 // bytes that were read, and that the service does not know of yet
	pinged   bool
	leaving  bool // it takes no more exchanges
	looks    bool // at what takes too long
	timer    *time.Timer
	failed   error
}

func newStreamsConn(s *Streams, nc net.Conn, address string, renewal uint64) *streamsConn {
	c := &streamsConn{
		owner: s, nc: nc, address: address, renewal: renewal, streams: map[uint32]*streamsExchange{}, most: firstStreams, next: 1,
		window: h2io.InitialWindow, theirs: h2io.InitialWindow, toRead: connWindow, since: time.Now(),
	}
	c.in = h2io.NewInput(h2io.InputOptions{
		Conn: nc, Fields: s.options.MaxHeaderBytes, Rest: s.options.Idle / 4, Frame: s.options.Header, Silent: c.silent,
		SetBy: func(t time.Time) { _ = nc.SetReadDeadline(t) }, // fails only on a closed connection, which the next read finds out
		Empty: c.wake,
	})
	c.out.Init(h2io.OutputOptions{Conn: nc, Lock: &c.mu, Beside: c.beside.Go, Room: c.wakeAll, Company: c.company, Failed: c.broke})
	c.out.Patience = s.options.Header
	c.out.Preface()
	c.out.Settings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamsWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(s.options.MaxHeaderBytes)})
	c.out.Widen(0, connWindow-h2io.InitialWindow)
	go c.read() // it ends with the connection, which the last exchange or idleness ends
	return c
}

// reserve takes a place for an exchange.
func (c *streamsConn) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = c.leaving || c.next >= mostStreams
	if c.leaving || c.failed != nil || c.reserved >= c.most {
		c.endIfIdle()
		return false
	}
	c.reserved++
	return true
}

// leave takes no more exchanges and ends the connection with the last one.
func (c *streamsConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.endIfIdle()
}

// endIfIdle ends a connection that nothing runs on and that takes no more. The lock is held.
func (c *streamsConn) endIfIdle() {
	if c.leaving && c.reserved == 0 {
		c.broke(errGivenUp)
	}
}

// broke ends everything that runs on the connection. The lock is held.
func (c *streamsConn) broke(err error) {
	if c.failed != nil {
		return
	}
	c.failed = err
	for _, x := range c.streams {
		x.end(err)
	}
	under := c.nc
	if secure, ok := under.(interface{ NetConn() net.Conn }); ok {
		under = secure.NetConn() // a goodbye of TLS would wait for whoever writes
	}
	_ = under.Close()
}

// company reports whether several exchanges run. The lock is held.
func (c *streamsConn) company() bool { return len(c.streams) > 1 }

func (c *streamsConn) wakeAll() {
	for _, x := range c.streams {
		x.wake.Broadcast()
	}
}

// endStream ends a stream from our side. The lock is held.
func (c *streamsConn) endStream(id uint32, code http2.ErrCode, err error) {
	c.out.Reset(id, code)
	if x := c.streams[id]; x != nil {
		x.end(err)
	}
	c.out.FlushBeside()
}

// look ends exchanges whose context has ended or whose time has passed, and comes again as long as there are any.
func (c *streamsConn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for id, x := range c.streams {
		switch {
		case x.ended:
		case x.ctx.Err() != nil:
			c.endStream(id, http2.ErrCodeCancel, x.ctx.Err())
		case overdue(x.by, now), overdue(x.sendBy, now):
			c.endStream(id, http2.ErrCodeCancel, ErrTimeout)
		}
	}
	if c.looks = len(c.streams) > 0 && c.failed == nil; c.looks {
		c.timer.Reset(glance)
	}
}

// watch sees to it that somebody looks. The lock is held.
func (c *streamsConn) watch() {
	if c.looks {
		return
	}
	c.looks = true
	if c.timer == nil {
		c.timer = time.AfterFunc(glance, c.look)
	} else {
		c.timer.Reset(glance)
	}
}

// wake wakes those for whom something has come.
func (c *streamsConn) wake() {
	if len(c.woken) == 0 {
		return
	}
	c.mu.Lock()
	for _, x := range c.woken {
		x.wake.Broadcast()
	}
	c.mu.Unlock()
	clear(c.woken)
	c.woken = c.woken[:0]
}

// read reads the connection to its end.
func (c *streamsConn) read() {
	var err error
	for err == nil {
		var f http2.Frame
		if f, err = c.in.Next(); err == nil {
			err = c.take(f)
		}
		if one, ok := errors.AsType[http2.StreamError](err); ok {
			c.mu.Lock()
			c.endStream(one.StreamID, one.Code, malformed(one.Error()))
			c.mu.Unlock()
			err = nil
		}
	}
	_, wrong := errors.AsType[http2.ConnectionError](err)
	if wrong || errors.Is(err, http2.ErrFrameTooLarge) {
		err = malformed(err.Error())
	}
	c.mu.Lock()
	c.leaving = true
	c.broke(err)
	c.mu.Unlock()
	c.wake()
	c.owner.forget(c)
	c.beside.Wait()
}

// silent decides about a service that has sent nothing for a while.
func (c *streamsConn) silent() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.reserved == 0 && time.Since(c.since) >= c.owner.options.Idle:
		return 0, errGivenUp
	case c.pinged:
		return 0, errSilent
	case c.reserved > 0:
		c.pinged = true
		c.out.Add(http2.FramePing, 0, 0, make([]byte, 8))
		c.out.FlushBeside()
	}
	return c.owner.options.Idle / 4, nil
}

// take does what a frame asks for.
func (c *streamsConn) take(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	c.pinged = false
	settings, ok := f.(*http2.SettingsFrame)
	if !c.began && (!ok || settings.IsAck()) {
		return errNotStream
	}
	c.began = true
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.head(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f)
	case *http2.RSTStreamFrame:
		err := ErrDisconnected
		if f.ErrCode == http2.ErrCodeRefusedStream {
			err = errUnbegun
		}
		if x := c.streams[f.StreamID]; x != nil && x.ended {
			x.unwanted = true // the answer stands
			c.woken = append(c.woken, x)
		} else if x != nil {
			x.end(err)
		}
	case *http2.SettingsFrame:
		return c.govern(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.answer(http2.FramePing, f.Data[:])
		}
	case *http2.GoAwayFrame:
		c.leaving = true
		for id, x := range c.streams {
			if id > f.LastStreamID {
				x.end(errUnbegun)
			}
		}
		c.endIfIdle()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// answer acknowledges a frame of the connection. A service that does not read its answers must not ask more.
func (c *streamsConn) answer(t http2.FrameType, payload []byte) error {
	if c.out.Held() > h2io.MostHeld {
		return malformed("too many frames of the connection")
	}
	c.out.Add(t, http2.FlagPingAck, 0, payload) // the same in SETTINGS
	c.out.FlushBeside()
	return nil
}

// govern takes over the service's settings.
func (c *streamsConn) govern(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.out.TableSize(s.Val)
		case http2.SettingMaxFrameSize:
			c.out.Frame = min(int(s.Val), h2io.FrameBytes)
		case http2.SettingMaxConcurrentStreams:
			c.most = int(min(s.Val, mostStreams))
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.theirs
			c.theirs = int64(s.Val)
			for _, x := range c.streams {
				if x.window += more; x.window > h2io.MostWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				x.wake.Broadcast()
			}
		default: // of no concern to who sends requests
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.answer(http2.FrameSettings, nil)
}

// widen lets more be sent.
func (c *streamsConn) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > h2io.MostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if c.out.Waiting > 0 {
			c.wakeAll()
		}
		return nil
	}
	x := c.streams[f.StreamID]
	if x == nil {
		return nil
	}
	if x.window += int64(f.Increment); x.window > h2io.MostWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	x.wake.Broadcast()
	return nil
}

// data hands content to its exchange.
func (c *streamsConn) data(f *http2.DataFrame) error {
	length := int64(f.Length)
	if c.toRead -= length; c.toRead < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.credit(length) // each stream has a bound of its own: one that nobody reads must not hold up others
	x := c.streams[f.StreamID]
	if x == nil || x.ended {
		return nil // it was on its way when the stream ended
	}
	content := f.Data()
	x.toRead -= length
	if !x.answered || x.toRead < 0 || x.response.Length >= 0 && x.came+int64(len(content)) > x.length {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	if padding := length - int64(len(content)); padding > 0 {
		x.credit(padding)
	}
	_, _ = x.content.Write(content) // a buffer does not fail
	x.came += int64(len(content))
	if f.StreamEnded() {
		x.finish(nil)
	}
	c.woken = append(c.woken, x)
	return nil
}

// head takes the head of an answer, an interim one, or trailers.
func (c *streamsConn) head(f *http2.MetaHeadersFrame) error {
	x := c.streams[f.StreamID]
	if x == nil || x.ended {
		return nil
	}
	wrong := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	switch {
	case f.Truncated:
		return wrong
	case x.answered:
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			return wrong
		}
		trailer := listOf(f, true)
		x.finish(trailer)
		c.woken = append(c.woken, x)
		return nil
	}
	status, ok := statusOf(f)
	switch {
	case !ok, status < 200 && f.StreamEnded(), status == 101:
		return wrong
	case status < 200:
		if x.interims++; x.interims > mostInformational {
			return wrong
		}
		x.interim = append(x.interim, interim{status, listOf(f, false)})
		c.woken = append(c.woken, x)
		return nil
	}
	h := listOf(f, false)
	length, ok := announced(h)
	if !ok {
		return wrong
	}
	bare := x.request.Method == "HEAD" || status == 204 || status == 304
	x.answered = true
	x.response.Status, x.response.Header, x.response.Length = status, h, length
	x.length = length
	if bare {
		x.response.Length, x.length = 0, 0
	}
	if f.StreamEnded() {
		if !bare && length > 0 {
			return wrong
		}
		x.response.Length = 0
		x.finish(nil)
	}
	c.woken = append(c.woken, x)
	return nil
}

// statusOf returns the status of an answer (RFC 9113, section 8.3.2).
func statusOf(f *http2.MetaHeadersFrame) (int, bool) {
	v := f.PseudoValue("status")
	if len(v) != 3 || v[0] < '1' || len(f.PseudoFields()) != 1 {
		return 0, false
	}
	n := 0
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		n = 10*n + int(v[i]-'0')
	}
	return n, true
}

// announced is the length that a head tells; -1: none.
func announced(h field.List) (int64, bool) {
	switch h.Count("Content-Length") {
	case 0:
		return -1, true
	case 1:
		return parseLength(h.Get("Content-Length"))
	}
	return 0, false
}

// listOf are the fields of a message, but for those that belong to a connection.
func listOf(f *http2.MetaHeadersFrame, trailer bool) field.List {
	regular := f.RegularFields()
	list := make(field.List, 0, len(regular))
	for _, h := range regular {
		name := h2io.Canonical(h.Name)
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Te", "Upgrade":
			continue
		}
		if !trailer || inTrailer(name) {
			list = append(list, field.Field{Name: name, Value: strings.Trim(h.Value, " \t")})
		}
	}
	return slices.Clip(list)
}

// credit lets the service send n bytes more, which it learns when that is worth a frame.
func (c *streamsConn) credit(n int64) {
	if c.owed += n; c.owed >= connWindow/4 && c.failed == nil {
		c.out.Widen(0, c.owed)
		c.toRead += c.owed
		c.owed = 0
		c.out.FlushBeside()
	}
}
