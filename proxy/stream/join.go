package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/proxy"
)

// Join hands bytes on between the side that connected and the other until both have ended, each direction for itself,
// so that a side that has sent all still hears the rest. What one side does not take, the other is not asked for.
// A connection that breaks on one side is cut on the other: nobody takes it for the end of what was to be said.
func (l *Link) Join(near, far net.Conn) error {
	l.Event.Allowed = true
	there := &direction{pool: l.server.buffers, src: near, dst: far, readCause: CutClient, writeCause: CutUpstream}
	back := &direction{pool: l.server.buffers, src: far, dst: near, readCause: CutUpstream, writeCause: CutClient}
	w := watch(l, there, back)
	var other sync.WaitGroup
	other.Go(func() { back.run(l) })
	there.run(l)
	other.Wait()
	w.stop()
	l.Event.BytesIn += there.moved.Load() // what was looked into before is on its way already
	l.Event.BytesOut = back.moved.Load()
	if there.refused != nil {
		l.broken = true
		return there.refused
	}
	if !l.isCut() {
		_ = near.Close() // both directions have ended; closing says goodbye where TLS does
		_ = far.Close()
	}
	return nil
}

func (l *Link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause != ""
}

// direction is one of the two.
type direction struct {
	pool                  *buffers
	src, dst              net.Conn
	readCause, writeCause string // what an error of src and of dst means
	moved                 atomic.Int64
	spliced               atomic.Bool   // the kernel moves the bytes, and tells when it is interrupted
	refused               *proxy.Denial // what src refused to read on for
	limit                 io.LimitedReader
}

// run moves bytes until src ends, then ends dst's input.
func (d *direction) run(l *Link) {
	cause, err := d.pump()
	if err == nil {
		if half, ok := d.dst.(interface{ CloseWrite() error }); ok {
			err = half.CloseWrite()
		} else {
			err = d.dst.Close()
		}
		cause = d.writeCause
		if errors.Is(err, net.ErrClosed) || isGone(err) {
			return // it has left already, which was its right: it was not owed any more
		}
	}
	if err == nil {
		return
	}
	if r, ok := errors.AsType[*proxy.Denial](err); ok {
		d.refused = r
	}
	l.Cut(cause)
}

const (
	restBuffer = 4 << 10  // for a direction that waits
	bulkBuffer = 64 << 10 // for one in which much comes at once
	spliceRun  = 4 << 20  // at most, between two looks
)

// buffers are shared by the connections of a server; those at rest hold the small ones.
type buffers struct{ rest, bulk sync.Pool }

func newBuffers() *buffers {
	return &buffers{
		rest: sync.Pool{New: func() any { return new([restBuffer]byte) }},
		bulk: sync.Pool{New: func() any { return new([bulkBuffer]byte) }},
	}
}

// pump moves bytes until src ends. It begins with a small buffer, takes a large one while that is filled, and leaves
// the work to the kernel while the large one is, where both sides are plain sockets.
func (d *direction) pump() (cause string, err error) {
	for {
		more, cause, err := d.trickle()
		for more && err == nil {
			more, cause, err = d.flow()
		}
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return cause, err
		}
	}
}

// trickle moves what comes in small pieces, until more comes at once.
func (d *direction) trickle() (more bool, cause string, err error) {
	buf := d.pool.rest.Get().(*[restBuffer]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer d.pool.rest.Put(buf)
	for {
		n, cause, err := d.move(buf[:])
		if err != nil || n == len(buf) {
			return true, cause, err
		}
	}
}

// flow moves large pieces, until a small one comes.
func (d *direction) flow() (more bool, cause string, err error) {
	buf := d.pool.bulk.Get().(*[bulkBuffer]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer d.pool.bulk.Put(buf)
	for {
		n, cause, err := d.move(buf[:])
		if err != nil || n < restBuffer {
			return false, cause, err
		}
		if n == len(buf) && d.splicable() {
			if more, cause, err := d.splice(); err != nil || !more {
				return more, cause, err
			}
		}
	}
}

// move moves one piece.
func (d *direction) move(buf []byte) (n int, cause string, err error) {
	n, err = d.src.Read(buf)
	if n > 0 {
		m, failed := d.dst.Write(buf[:n])
		d.moved.Add(int64(m))
		if failed != nil {
			return m, d.writeCause, failed
		}
	}
	return n, d.readCause, d.woken(err)
}

// woken returns nil for the deadline that interrupts splice; it may come late.
func (d *direction) woken(err error) error {
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return d.src.SetReadDeadline(time.Time{})
	}
	return err
}

func (d *direction) splicable() bool {
	if _, ok := d.dst.(*net.TCPConn); !ok {
		return false
	}
	switch d.src.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// splice lets the kernel move bytes until it is interrupted or src ends.
func (d *direction) splice() (more bool, cause string, err error) {
	to, _ := d.dst.(*net.TCPConn)
	d.spliced.Store(true)
	defer d.spliced.Store(false)
	for {
		d.limit.R, d.limit.N = d.src, spliceRun
		n, err := to.ReadFrom(&d.limit)
		d.moved.Add(n)
		switch {
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return n > 0, d.readCause, d.woken(err)
		case err != nil:
			return false, d.broke(), err
		case n < spliceRun:
			return false, d.readCause, io.EOF
		}
	}
}

// broke tells which side an error of splice is about. A socket that was reset is no longer connected; the other, which
// is about to be cut, loses nothing by the question.
func (d *direction) broke() string {
	if half, ok := d.src.(interface{ CloseRead() error }); ok && isGone(half.CloseRead()) {
		return d.readCause
	}
	return d.writeCause
}
