package mesh

import (
	"net"
	"sync"
)

// backlog is how many connections may wait to be accepted, as those of a socket may.
const backlog = 128

// queue is a listener of connections that were accepted elsewhere.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}

	mu     sync.Mutex // held while something is sent, so that nothing is left behind
	closed bool
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn, backlog), done: make(chan struct{})}
}

// push hands a connection over, or closes it if too many wait or nobody accepts any more.
func (q *queue) push(c net.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		select {
		case q.conns <- c:
			return
		default:
		}
	}
	_ = c.Close()
}

// Accept returns the next connection that was pushed.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and closes the connections that wait.
func (q *queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	close(q.done)
	for {
		select {
		case c := <-q.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr returns the address of the socket that connections come from.
func (q *queue) Addr() net.Addr { return q.addr }
