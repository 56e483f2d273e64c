package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/store/table"
)

const (
	leaseName = "control"
	newsKey   = "control.news"         // written when the store has changed; what stands there means nothing
	rebuild   = 200 * time.Millisecond // places that change together are told together
	glance    = 10 * time.Millisecond  // reports that come together are looked at together
)

// leader is what the control that leads does beside all others.
type leader struct {
	c        *Control
	lease    table.Lease
	pub      *publisher
	since    time.Time
	applies  chan struct{}                 // capacity 1: held by the rollout that is under way
	rollout  atomic.Pointer[admin.Rollout] // that one; nil: none
	trusting sync.Mutex
	placing  sync.Mutex
	told     map[string][]string // places as proxies know them
	toldOf   *fleet              // by this model
	trying   *tried              // a model on trial; nil: none
	toldTry  *tried              // what was tried when places were told
}

// tried is a model on trial.
type tried struct {
	next *fleet
	ids  map[string]bool // that try it
}

// contend takes the lease when it can be had, and leads while it holds it, until ctx ends.
func (c *Control) contend(ctx context.Context) error {
	told := false
	for {
		lease, err := c.takeLease(ctx)
		switch {
		case err == nil:
			if err := c.lead(ctx, lease); err != nil && ctx.Err() == nil {
				c.log.ErrorContext(ctx, "this control leads no longer", "error", err)
			}
		case !errors.Is(err, table.ErrConflict) && ctx.Err() == nil:
			c.log.ErrorContext(ctx, "nobody can be elected", "error", err)
		case !c.several() && !told: // just after a crash it is the lease of the process before
			told = true
			c.log.WarnContext(ctx, "another control holds the lease: if it runs, neither can do without a bus of both (mesh.control.bus.urls)", "waits_at_most", c.o.Lease)
		}
		timer := time.NewTimer(c.o.Lease / 3)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// takeLease takes the lease or renews it. The holder's name says where it answers.
func (c *Control) takeLease(ctx context.Context) (lease table.Lease, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Lease/3)
	defer cancel()
	err = c.o.Store.Write(ctx, func(t *table.Tx) (err error) {
		lease, err = t.TakeLease(ctx, leaseName, c.o.Name+" "+c.reach(), c.o.Lease)
		return err
	})
	return lease, err
}

// reach is where other controls find this one.
func (c *Control) reach() string {
	if c.o.Reach != "" {
		return c.o.Reach
	}
	return c.listening
}

// lead does the leader's work until the lease is lost or ctx ends.
func (c *Control) lead(ctx context.Context, lease table.Lease) error {
	g, ctx := errgroup.WithContext(ctx)
	defer func() {
		c.leading.Store(nil)
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		_ = c.o.Store.Write(release, func(t *table.Tx) error { return t.ReleaseLease(release, lease) }) // it ends by itself
	}()
	l := &leader{c: c, lease: lease, since: time.Now(), applies: make(chan struct{}, 1)}
	g.Go(func() error { return l.keep(ctx) })
	g.Go(func() error {
		if err := l.begin(ctx); err != nil {
			return err
		}
		c.log.InfoContext(ctx, "this control leads", "term", lease.Epoch)
		c.leading.Store(l)
		g.Go(func() error { return c.authority.Run(ctx) })
		g.Go(func() error { return l.tellTrust(ctx) })
		return l.tellPlaces(ctx)
	})
	return g.Wait()
}

// keep renews the lease. Without an answer it stops leading before another can begin.
func (l *leader) keep(ctx context.Context) error {
	ticker := time.NewTicker(l.c.o.Lease / 3)
	defer ticker.Stop()
	until := time.Now().Add(l.c.o.Lease * 2 / 3)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		asked := time.Now()
		lease, err := l.c.takeLease(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && lease.Epoch == l.lease.Epoch:
			until = asked.Add(l.c.o.Lease * 2 / 3)
		case err == nil || errors.Is(err, table.ErrConflict):
			return errSucceeded
		case time.Now().After(until):
			return fmt.Errorf("renewing the lease: %w", err)
		}
	}
}

// begin takes over: what is in force, what was said, and what the leader before left unfinished.
func (l *leader) begin(ctx context.Context) error {
	c := l.c
	if err := c.authority.Refresh(ctx); err != nil {
		return err
	}
	if err := c.loadFleet(ctx); err != nil {
		return err
	}
	if err := c.desk.load(ctx); err != nil {
		return err
	}
	var err error
	if l.pub, err = newPublisher(ctx, c, l.lease.Epoch); err != nil {
		return err
	}
	f := c.fleet.Load()
	if f == nil {
		return nil
	}
	unfinished, err := l.unfinished(ctx, f)
	if err != nil {
		return err
	}
	return l.pub.slices(ctx, f, unfinished)
}

// write changes the store under the lease, and tells other controls.
func (l *leader) write(ctx context.Context, do func(*table.Tx) error) error {
	err := l.c.o.Store.WriteAs(ctx, l.lease, do)
	if err == nil {
		l.c.tellNews(ctx)
	}
	return err
}

// tellNews tells other controls that the store has changed. They also look by themselves now and then.
func (c *Control) tellNews(ctx context.Context) {
	c.news.wake()
	if !c.several() {
		return
	}
	if _, err := c.bus.Bucket(wire.Bucket).Put(ctx, newsKey, nil); err != nil {
		c.log.WarnContext(ctx, "other controls not told of a change", "error", err)
	}
}

// followNews takes over what other controls have changed, until ctx ends.
func (c *Control) followNews(ctx context.Context) error {
	if !c.several() {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	poke := make(chan struct{}, 1)
	g.Go(func() error {
		err := c.bus.Bucket(wire.Bucket).Watch(ctx, newsKey, func([]bus.Change) {
			select {
			case poke <- struct{}{}:
			default:
			}
		})
		if ctx.Err() == nil {
			return err
		}
		return nil
	})
	g.Go(func() error {
		ticker := time.NewTicker(shareEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			case <-poke:
			}
			if err := errors.Join(c.authority.Refresh(ctx), c.loadFleet(ctx)); err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "changes of other controls not taken over", "error", err)
			}
		}
	})
	return g.Wait()
}

// leaderAt returns where the control that leads answers.
func (c *Control) leaderAt(ctx context.Context) (string, error) {
	var lease table.Lease
	err := c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		lease, err = t.Lease(ctx, leaseName)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("finding who leads: %w", err)
	}
	_, at, _ := strings.Cut(lease.Holder, " ")
	return at, nil
}
