package upstream

import (
	"io"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// sourceBody is a request's body as the standard transport reads it. At its end, the trailers are known and
// the wait for the answer's head begins.
type sourceBody struct {
	request *Request
	trailer http.Header // announced, with their values once the body has ended; nil for none
	sent    func()

	over    atomic.Bool
	begun   atomic.Bool // something of the body was read
	reading sync.Mutex
}

func (b *sourceBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.over.Load() {
		return 0, errBodyClosed
	}
	b.begun.Store(true)
	n, err := b.request.Body.Read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		return n, bodyError(err)
	}
	b.sent()
	if b.request.Trailer == nil {
		return n, io.EOF
	}
	for _, f := range b.request.Trailer() {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if _, announced := b.trailer[name]; announced && isFieldValue(f.Value) {
			b.trailer[name] = append(b.trailer[name], f.Value)
		}
	}
	return n, io.EOF
}

// Close is called when the transport is done with the body, sent or not.
func (b *sourceBody) Close() error { return nil }

// release lets go of the body. With Interrupt, it returns once the body is not in use any more.
func (b *sourceBody) release() {
	b.over.Store(true)
	if b.request.Interrupt == nil {
		return
	}
	if !b.reading.TryLock() {
		b.request.Interrupt()
		b.reading.Lock()
	}
	b.reading.Unlock()
}

// restart reports whether a body that was let go can be sent from its beginning. There may be none.
func (b *sourceBody) restart() bool {
	if b == nil || !b.begun.Load() {
		return true
	}
	if b.request.Rewind == nil {
		return false
	}
	b.reading.Lock() // a body in memory keeps nobody waiting
	defer b.reading.Unlock()
	return b.request.Rewind()
}

// clock ends an exchange that takes too long: first the wait for the head, then each pause in the body.
type clock struct {
	expire func()

	mu    sync.Mutex
	timer *time.Timer
	head  bool // the head is there
}

// start begins the wait for the head, unless that is there already.
func (c *clock) start(wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.head && c.timer == nil {
		c.timer = time.AfterFunc(wait, c.expire)
	}
}

// answered ends the wait for the head.
func (c *clock) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// pause begins a wait for bytes of the body; none of zero or less.
func (c *clock) pause(wait time.Duration) {
	if wait <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.expire)
		return
	}
	c.timer.Reset(wait)
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}
