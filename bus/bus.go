// Package bus carries messages, durable streams and watched keys between the parts of a fleet. It is NATS: a server
// linked in, or an external cluster, behind one client. Its callout tells any NATS server, also a fleet's own
// brokers, who connects and what for.
//
// It is not for truth: what must be decided once stands in store/table, and a bucket hands on its newest form. It is
// not for requests of services to each other either; those go through proxies.
package bus

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrConflict tells that a key has another revision than the writer expected.
	ErrConflict = errors.New("the key was changed by another")
	// ErrNotFound tells that there is no such key, or no such bucket or stream.
	ErrNotFound = errors.New("not found")
	// ErrNotPermitted tells that the server refuses the subject to this client.
	ErrNotPermitted = errors.New("not permitted on the bus")
	// ErrTooLarge tells that a message is larger than the server or the receiver takes.
	ErrTooLarge = errors.New("the message is too large")
	// ErrFull tells that a stream refuses messages until older ones are gone.
	ErrFull = errors.New("the stream is full")
	// ErrClosed tells that the client was closed.
	ErrClosed = errors.New("the bus client is closed")
)

var errNotWriter = fmt.Errorf("%w: the role %s alone writes buckets", ErrNotPermitted, Control)

const (
	attemptTime = 2 * time.Second // for one try of an exchange with the server
	backoffMin  = 25 * time.Millisecond
	backoffMax  = 2 * time.Second
)
