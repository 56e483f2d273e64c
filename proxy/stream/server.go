package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/accept"
)

// Carrier decides about a connection and carries it until its end. A *proxy.Denial refuses it; any other error means
// that it could not decide, and refuses too.
type Carrier interface {
	Carry(ctx context.Context, l *Link) error
}

// Options describe a Server.
type Options struct {
	Name     string       // of the listener, as recorded
	Listener net.Listener // closed when the Server ends
	Carrier  Carrier
	Recorder Recorder
	Bounds   Bounds
}

// Server takes connections from one listener and lets its Carrier carry each. Every one is recorded, but those that
// fail the handshake.
type Server struct {
	o       Options
	rules   atomic.Pointer[Rules]
	buffers *buffers

	mu        sync.Mutex
	open      map[*Link]struct{}
	strangers int // of them, those that have not proven who they are
	callers   map[string]int
	ended     sync.WaitGroup
}

// New returns a Server with its first rules.
func New(o Options, r *Rules) *Server {
	o.Bounds = o.Bounds.resolved()
	s := &Server{o: o, buffers: newBuffers(), open: make(map[*Link]struct{}), callers: make(map[string]int)}
	s.rules.Store(withRedactor(r))
	return s
}

func withRedactor(r *Rules) *Rules {
	if r.Redactor != nil {
		return r
	}
	c := *r
	c.Redactor = event.NewRedactor(nil)
	return &c
}

// Swap makes r the rules of all connections. Open ones that r does not let pass are cut.
func (s *Server) Swap(r *Rules) {
	s.rules.Store(withRedactor(r))
	s.Recheck()
}

// Recheck asks again about all open connections, and cuts those that would not pass now. It returns how many.
func (s *Server) Recheck() int {
	r, cut := s.rules.Load(), 0
	for _, l := range s.links() {
		if !l.passes(r) {
			l.Cut(CutRules)
			cut++
		}
	}
	return cut
}

// Open returns the number of open connections.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *Server) links() []*Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Link, 0, len(s.open))
	for l := range s.open {
		all = append(all, l)
	}
	return all
}

// Run serves until ctx ends, then takes no more, waits until the open connections have ended and cuts those that do
// not within the drain time. It returns when all are recorded.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.o.Listener.Close() }) // wakes accept
	defer stop()
	base := context.WithoutCancel(ctx)
	err := accept.Loop(ctx, s.o.Listener, func(c net.Conn) { s.take(base, c) })
	_ = s.o.Listener.Close() // it may be closed already
	s.drain()
	if err != nil && !errors.Is(err, net.ErrClosed) { // whoever handed the listener over may close it
		return fmt.Errorf("serving listener %q: %w", s.o.Name, err)
	}
	return nil
}

func (s *Server) drain() {
	cut := time.AfterFunc(s.o.Bounds.Drain, func() {
		for _, l := range s.links() {
			l.Cut(CutDrain)
		}
	})
	s.ended.Wait()
	cut.Stop()
}

// take makes a Link of c if the bounds allow it. Who exceeds them before having proven anything is not recorded:
// strangers must not be able to fill the record.
func (s *Server) take(base context.Context, c net.Conn) {
	s.mu.Lock()
	full := len(s.open) >= s.o.Bounds.Connections || s.strangers > s.o.Bounds.Connections/strangersPart
	var l *Link
	if !full {
		l = newLink(base, s, c)
		s.open[l] = struct{}{}
		s.strangers++
		s.ended.Add(1)
	}
	s.mu.Unlock()
	if full {
		abort(c)
		return
	}
	go func() {
		defer s.ended.Done()
		s.serve(l)
	}()
}

func (s *Server) serve(l *Link) {
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(l.ctx, "a connection met a defect", "listener", s.o.Name, "id", l.Event.ID, "defect", p)
			l.end(errDefect)
		}
	}()
	l.end(s.o.Carrier.Carry(l.ctx, l))
}

var errDefect = errors.New("a defect was met")

// known counts a connection whose caller is known as that one's; false if it has as many as it may.
func (s *Server) known(l *Link, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers[id] >= s.o.Bounds.PerCaller {
		return false
	}
	s.callers[id]++
	l.counted = id
	return true
}

// met takes a connection out of those whose callers are not known.
func (s *Server) met(l *Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.stranger {
		l.stranger = false
		s.strangers--
	}
}

func (s *Server) forget(l *Link) {
	s.met(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, l)
	if l.counted == "" {
		return
	}
	if s.callers[l.counted]--; s.callers[l.counted] == 0 {
		delete(s.callers, l.counted)
	}
}
