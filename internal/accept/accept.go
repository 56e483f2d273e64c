// Package accept takes connections from a listener as long as there can be more. It serves none.
package accept

import (
	"context"
	"errors"
	"net"
	"time"
)

// Loop hands every connection to take until ctx ends or the listener fails for good. Whoever ends ctx closes the
// listener, which wakes it. While the process has too many open files it waits, as net/http's server does.
func Loop(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = first
			take(c)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the socket was closed to end this
		case !isTemporary(err):
			return err
		default: // some files will be closed
			wait := time.NewTimer(pause)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
				return nil
			}
			pause = min(2*pause, most)
		}
	}
}

// isTemporary reports whether the next accept may succeed, as net/http's server asks it.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
