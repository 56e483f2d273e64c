package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// The sorts of failure. Every error of a Transport wraps one of them, or context.Canceled. Their texts may be
// shown to anyone; what they are wrapped with names addresses and belongs into logs.
var (
	ErrRequest      = errors.New("the request cannot be sent as it is")
	ErrBody         = errors.New("the request body could not be read")
	ErrDial         = errors.New("the service cannot be reached")
	ErrBusy         = errors.New("all connections to the service are in use")
	ErrTimeout      = errors.New("the service did not answer in time")
	ErrMalformed    = errors.New("the service's answer is malformed")
	ErrDisconnected = errors.New("the service broke the connection")
	ErrFailed       = errors.New("the service answered that it is not available")
	ErrOpen         = errors.New("the circuit is open: too many requests to the service failed")
)

var errBodyClosed = errors.New("body is closed")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func unsendable(what string) error { return fmt.Errorf("%w: %s", ErrRequest, what) }

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

func bodyError(err error) error { return fmt.Errorf("reading request body: %w: %w", ErrBody, err) }

// classify gives a connection's error its sort. The context's end comes first: it is what closed the connection.
func classify(ctx context.Context, doing string, err error) error {
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", doing, ErrTimeout, cause)
	case cause != nil:
		return fmt.Errorf("%s: %w", doing, cause)
	case sorted(err):
		return fmt.Errorf("%s: %w", doing, err)
	case isTimeout(err):
		return fmt.Errorf("%s: %w: %w", doing, ErrTimeout, err)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrDisconnected, err)
}

// sorted reports whether err has its sort already.
func sorted(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrBody) || errors.Is(err, ErrRequest) || errors.Is(err, ErrBusy) ||
		errors.Is(err, ErrDial) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrDisconnected)
}

// OpenError is an ErrOpen that tells what failed last before the circuit opened.
type OpenError struct{ Cause error }

func (e *OpenError) Error() string { return fmt.Sprintf("%v; the last time: %v", ErrOpen, e.Cause) }

// Is makes it an ErrOpen. It wraps nothing: the request was not refused by its cause.
func (e *OpenError) Is(target error) bool { return target == ErrOpen }
