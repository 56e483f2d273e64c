package h1

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// patience is how long a request is served before anyone looks whether its client is still there. Most are answered
// sooner, and cost no goroutine.
const patience = 30 * time.Millisecond

// watch notices that the client of a request goes away while it is served, and ends the connection's context then.
// It reads ahead; what it reads is kept for the next request. Nobody else may read from begin to stop.
type watch struct {
	c    *conn
	over bool // the client is gone; valid after stop

	mu      sync.Mutex
	timer   *time.Timer
	armed   bool
	reading chan struct{} // closed when the reader has ended; nil: there is none
}

// begin watches from soon on.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(patience, w.run)
	} else {
		w.timer.Reset(patience)
	}
}

// stop ends watching and waits until nobody reads any more.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return
	}
	w.armed = false
	w.timer.Stop()
	if w.reading != nil {
		w.c.line.readBy(past(), 0)
		<-w.reading
		w.reading = nil
	}
}

// run is the reader.
func (w *watch) run() {
	w.mu.Lock()
	if !w.armed || w.reading != nil { // late, for a request before
		w.mu.Unlock()
		return
	}
	done := make(chan struct{})
	w.reading = done
	w.c.line.readBy(time.Time{}, 0)
	w.mu.Unlock()
	defer close(done)
	w.over = !w.c.overhear()
	if w.over {
		w.c.cancel()
	}
}

// overhear reads ahead until its room is full or the read deadline passes, and reports whether the client is there.
// One that has sent more requests before it closed its half waits for their answers.
func (c *conn) overhear() bool {
	for c.w < len(c.buf) {
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) && c.r < c.w
		}
	}
	return true
}
