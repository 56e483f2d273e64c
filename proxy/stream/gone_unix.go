//go:build unix

package stream

import (
	"errors"
	"syscall"
)

// isGone reports whether err says that the connection is no more.
func isGone(err error) bool { return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.EPIPE) }
