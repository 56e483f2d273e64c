package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/palisade-security/palisade/model"
)

// ErrDoor tells that a socket cannot be had at which a service would find another one.
var ErrDoor = errors.New("opening a socket toward others")

// Listen opens a socket at a door.
type Listen func(ctx context.Context, d model.Door) (net.Listener, error)

// sockets are the doors that are open. A socket stays open while what is behind it changes. The zero value opens none.
type sockets struct {
	mu     sync.Mutex
	listen Listen // nil: not yet
	open   map[model.Door]*socket
}

// socket is one door that is open.
type socket struct {
	ln     net.Listener
	closed func() // ends serving; nil: it is not served
}

func (s *sockets) begin(listen Listen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen = listen
}

// prepare opens what is not open yet. Serve then serves all doors by a sidecar, and closes those that are gone.
func (s *sockets) prepare(ctx context.Context, doors []model.Door) (serve func(context.Context, *Sidecar), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listen == nil {
		return func(context.Context, *Sidecar) {}, nil
	}
	next, fresh := map[model.Door]*socket{}, []*socket{}
	for _, d := range doors {
		at := s.open[d]
		if at == nil {
			ln, err := s.take(ctx, d)
			if err != nil && d.Name == "" { // none of them gets anywhere by us, which is enough
				warnUndeclared(ctx, d, err)
				continue
			}
			if err != nil {
				for _, f := range fresh {
					_ = f.ln.Close()
				}
				return nil, fmt.Errorf("%w: %s at %s: %w", ErrDoor, d.Name, d.At, err)
			}
			at = &socket{ln: ln}
			fresh = append(fresh, at)
		}
		next[d] = at
	}
	return func(ctx context.Context, by *Sidecar) { s.serve(ctx, next, by) }, nil
}

// warnUndeclared says what becomes of undeclared calls without a door for them. Where services share a network the first sidecar has it.
func warnUndeclared(ctx context.Context, d model.Door, err error) {
	if errors.Is(err, syscall.EADDRINUSE) {
		slog.WarnContext(ctx, "undeclared calls come to another process of this network; a sidecar takes them as calls of its own service", "at", d.At, "error", err)
		return
	}
	slog.WarnContext(ctx, "undeclared calls find nobody, and are not recorded", "at", d.At, "error", err)
}

// take opens a door, or shares the socket of what was behind the same address before.
func (s *sockets) take(ctx context.Context, d model.Door) (net.Listener, error) {
	for other, at := range s.open {
		if other.At == d.At && d.At.Port() != 0 {
			return share(at.ln)
		}
	}
	return s.listen(ctx, d)
}

func (s *sockets) serve(ctx context.Context, next map[model.Door]*socket, by *Sidecar) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, at := range s.open {
		if next[d] == nil {
			at.end()
			_ = at.ln.Close() // there is nothing to lose
		}
	}
	s.open = next
	for d, at := range next {
		if at.closed != nil {
			continue
		}
		ln, err := share(at.ln)
		if err == nil {
			at.closed, err = by.Open(ctx, d, ln)
		}
		if err != nil { // out of descriptors
			slog.ErrorContext(ctx, "a service does not find another one", "service", d.Name, "at", d.At, "error", err)
		}
	}
}

// shut ends serving everywhere. The sockets stay open for another sidecar.
func (s *sockets) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.open {
		at.end()
	}
}

func (at *socket) end() {
	if at.closed != nil {
		at.closed()
		at.closed = nil
	}
}

// at returns where the door to a service is open.
func (s *sockets) at(service string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, at := range s.open {
		if d.Name == service && !d.Outside && (d.At.Port() == 0 || int(d.At.Port()) == d.Port) {
			return at.ln.Addr()
		}
	}
	return nil
}

func (s *sockets) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, at := range s.open {
		at.end()
		errs = append(errs, at.ln.Close())
	}
	s.open = nil
	return errors.Join(errs...)
}

// share returns another handle on a socket: closing one leaves the other open.
func share(ln net.Listener) (net.Listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.New("sharing a socket: it is not one of TCP")
	}
	f, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("sharing a socket: %w", err)
	}
	defer f.Close() // FileListener has its own copy
	return net.FileListener(f)
}
