package mesh

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// life is what runs for as long as something serves. What is given to it before it begins begins with it. The zero
// value is ready.
type life struct {
	mu      sync.Mutex
	early   []func(context.Context) error
	group   *errgroup.Group // nil before the begin, and after the end
	ctx     context.Context //nolint:containedctx // of the group
	cancel  context.CancelFunc
	ended   bool
	stopped chan struct{} // closed when all has ended
}

// do runs f until the end of the life: then the context of f is done. After the end, f finds it so at once.
func (l *life) do(f func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		if l.ctx != nil {
			_ = f(l.ctx) // which is done: f gives up what it holds
		}
	case l.group == nil:
		l.early = append(l.early, f)
	default:
		ctx := l.ctx
		l.group.Go(func() error { return f(ctx) })
	}
}

// run lives until ctx ends, end is called or something fails, and waits for all that was given to it.
func (l *life) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	l.mu.Lock()
	l.group, l.ctx, l.cancel, l.stopped = g, ctx, cancel, stopped
	for _, f := range l.early {
		g.Go(func() error { return f(ctx) })
	}
	l.early = nil
	ended := l.ended
	l.mu.Unlock()
	if ended {
		cancel()
	}
	g.Go(func() error {
		<-ctx.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true // nothing is added to a group that is waited for in vain
		return nil
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// end ends the life, if it has not ended by itself, and waits until all has.
func (l *life) end() {
	if stopped := l.quit(); stopped != nil {
		<-stopped
	}
}

// quit ends the life and returns a channel that is closed when all has ended; nil if it never began.
func (l *life) quit() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.cancel != nil {
		l.cancel()
	}
	return l.stopped
}
