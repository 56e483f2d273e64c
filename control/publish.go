package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
)

// publisher writes statements to the watched keys for as long as its leader leads. Each write names the revision that
// it replaces, so that a former leader cannot undo its successor's. It is safe for concurrent use.
type publisher struct {
	c      *Control
	bucket *bus.Bucket
	term   uint64

	mu     sync.Mutex
	number uint64
	stands map[string]standing // by key
}

// standing is what a key holds.
type standing struct {
	revision uint64
	order    wire.Order
	version  string // of a slice; otherwise of the body
	only     bool   // a trial
	made     time.Time
}

// newPublisher reads what the keys hold.
func newPublisher(ctx context.Context, c *Control, term int64) (*publisher, error) {
	p := &publisher{c: c, bucket: c.bus.Bucket(wire.Bucket), term: uint64(term), stands: map[string]standing{}}
	ctx, done := context.WithCancel(ctx)
	defer done()
	read := false
	err := p.bucket.Watch(ctx, ">", func(changes []bus.Change) {
		if read {
			return
		}
		read = true
		for _, change := range changes {
			p.stands[change.Key] = p.look(change)
		}
		done()
	})
	if !read {
		return nil, fmt.Errorf("reading what proxies were told: %w", err)
	}
	return p, nil
}

// look reads what stands at a key. What none of us has signed is nothing, and is replaced.
func (p *publisher) look(change bus.Change) standing {
	out := standing{revision: change.Revision}
	if change.Deleted {
		return out
	}
	if st, err := wire.Open(change.Value, p.c.opener); err == nil {
		out.order, out.version, out.only, out.made = st.Order, st.Version, len(st.Only) > 0, st.Made
	}
	return out
}

// next returns the order of a new statement.
func (p *publisher) next() wire.Order {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	return wire.Order{Term: p.term, Number: p.number}
}

func (p *publisher) at(key string) standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stands[key]
}

func (p *publisher) set(key string, s standing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands[key] = s
}

// errSucceeded tells that a newer leader has written.
var errSucceeded = errors.New("another control leads")

// say writes a statement to a key.
func (p *publisher) say(ctx context.Context, key string, st wire.Statement) error {
	st.Domain, st.Order, st.Made = p.c.o.Domain, p.next(), time.Now().UTC()
	data, err := p.c.sealer.Sign(&st)
	if err != nil {
		return err
	}
	for {
		revision, err := p.bucket.Update(ctx, key, data, p.at(key).revision)
		if err == nil {
			p.set(key, standing{revision, st.Order, st.Version, len(st.Only) > 0, st.Made})
			return nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		stands, err := p.again(ctx, key)
		if err != nil {
			return err
		}
		if stands.order.Term > p.term {
			return fmt.Errorf("telling proxies: %w", errSucceeded)
		}
		p.set(key, stands)
	}
}

// again reads a key that another has written.
func (p *publisher) again(ctx context.Context, key string) (standing, error) {
	e, err := p.bucket.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) { // deleted, or the bucket was lost and made anew
		return standing{}, p.remake(ctx, key)
	}
	if err != nil {
		return standing{}, err
	}
	return p.look(bus.Change{Entry: e}), nil
}

// remake makes a key that has nothing writable by its revision: an empty value takes its place first.
func (p *publisher) remake(ctx context.Context, key string) error {
	_, err := p.bucket.Create(ctx, key, nil)
	if errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}

const writers = 32 // statements signed and written at once

// slices brings every slice to that of a model. Those that are the same already are left; the others of renewed are
// said again although their version is the same, since a trial of another is to end.
func (p *publisher) slices(ctx context.Context, f *fleet, renewed map[string]bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	wanted := map[string]bool{wire.TrustKey: true}
	f.ids(func(id string) {
		wanted[wire.SliceKey(id)], wanted[wire.TrialKey(id)], wanted[wire.PlacesKey(id)] = true, true, true
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return p.slice(ctx, f, id, nil, renewed[id])
		})
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("telling proxies what is in force: %w", err)
	}
	return p.drop(ctx, wanted)
}

// slice says one slice, if it is another or must be said again. Only names the instances that try it.
func (p *publisher) slice(ctx context.Context, f *fleet, id string, only []string, again bool) error {
	slice := f.slice(id)
	if slice == nil {
		return nil
	}
	key := wire.SliceKey(id)
	if only != nil {
		key = wire.TrialKey(id)
	} else if p.at(key).version == slice.Version && !again {
		return nil
	}
	body, err := json.Marshal(slice)
	if err != nil {
		return fmt.Errorf("writing the slice of %s: %w", id, err)
	}
	return p.say(ctx, key, wire.Statement{Kind: wire.Slice, For: id, Only: only, Version: slice.Version, Body: body})
}

// drop deletes the keys of identities that are no longer there.
func (p *publisher) drop(ctx context.Context, wanted map[string]bool) error {
	p.mu.Lock()
	var gone []string
	for key, s := range p.stands {
		if !wanted[key] && (s.version != "" || s.order != wire.Order{}) {
			gone = append(gone, key)
		}
	}
	p.mu.Unlock()
	for _, key := range gone {
		if err := p.bucket.Delete(ctx, key); err != nil {
			return err
		}
		p.mu.Lock()
		delete(p.stands, key) // the next write learns the revision of the deletion
		p.mu.Unlock()
	}
	return nil
}

// body says something that has no version of its own, if it is another than what stands.
func (p *publisher) body(ctx context.Context, key string, kind wire.Kind, id string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing %s: %w", kind, err)
	}
	version := digest(data)
	if p.at(key).version == version {
		return nil
	}
	return p.say(ctx, key, wire.Statement{Kind: kind, For: id, Version: version, Body: data})
}
