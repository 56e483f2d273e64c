package h2

import (
	"context"
	"sync"
)

// scope is the context of a request: it has the values of its connection's, and ends with the request. Hardly any request has
// somebody who waits for its end, so that there is nothing to wait on before one asks, and the connection knows of no scope.
type scope struct {
	context.Context //nolint:containedctx // of the connection, which ends the scopes of its streams when it ends itself

	mu    sync.Mutex
	err   error
	done  chan struct{} // nil until somebody asks
	after []*func()     // what is to be called then; of those that were stopped, nil
}

// Done implements context.Context.
func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		}
	}
	return s.done
}

// Err implements context.Context.
func (s *scope) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// AfterFunc calls f in a goroutine of its own once the scope has ended, unless stop is faster, which then returns true. Package
// context looks for it, and needs no goroutine to wait for the end of a scope.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		go f() // as context.AfterFunc would: it is the caller's to wait for
		return func() bool { return false }
	}
	own := &f
	s.after = append(s.after, own)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil || *own == nil {
			return false
		}
		*own = nil
		return true
	}
}

// end ends the scope.
func (s *scope) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = context.Canceled
	if s.done != nil {
		close(s.done)
	}
	for _, f := range s.after {
		if *f != nil {
			go (*f)()
		}
	}
	s.after = nil
}
