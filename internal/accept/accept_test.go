package accept

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
)

// failing is a listener that hands out what it is told to.
type failing struct {
	net.Listener
	results chan error // nil: a connection
}

func (f *failing) Accept() (net.Conn, error) {
	if err, ok := <-f.results; !ok {
		return nil, net.ErrClosed
	} else if err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	return a, b.Close()
}

func TestLoop(t *testing.T) {
	busy := &net.OpError{Op: "accept", Err: syscall.EMFILE}
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		gives []error
		want  error
		taken int
	}{
		{"busy for a while", []error{nil, busy, busy, nil, broken}, broken, 2},
		{"closed from outside", []error{nil}, net.ErrClosed, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &failing{results: make(chan error, len(c.gives))}
			for _, err := range c.gives {
				f.results <- err
			}
			close(f.results)
			taken := 0
			if err := Loop(t.Context(), f, func(net.Conn) { taken++ }); !errors.Is(err, c.want) || taken != c.taken {
				t.Errorf("%s: took %d, %v", c.name, taken, err)
			}
		})
	}
}

// TestLoopEnds holds that the end of ctx is no failure, also during a pause.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &failing{results: make(chan error, 1)}
		f.results <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		done := make(chan error)
		go func() { done <- Loop(ctx, f, func(net.Conn) {}) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
