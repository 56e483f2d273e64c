package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
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

// draft is a statement before it is signed, and where it is to stand.
type draft struct {
	key string
	st  wire.Statement
}

// said is a draft that is signed.
type said struct {
	draft
	data []byte
}

func (p *publisher) sign(d draft) (said, error) {
	d.st.Domain, d.st.Order, d.st.Made = p.c.o.Domain, p.next(), time.Now().UTC()
	data, err := p.c.sealer.Sign(&d.st)
	return said{d, data}, err
}

func (s *said) standing(revision uint64) standing {
	return standing{revision, s.st.Order, s.st.Version, len(s.st.Only) > 0, s.st.Made}
}

// say writes one statement.
func (p *publisher) say(ctx context.Context, d draft) error {
	s, err := p.sign(d)
	if err != nil {
		return err
	}
	return p.put(ctx, &s)
}

// put writes what is signed.
func (p *publisher) put(ctx context.Context, s *said) error {
	for {
		revision, err := p.bucket.Update(ctx, s.key, s.data, p.at(s.key).revision)
		if err == nil {
			p.set(s.key, s.standing(revision))
			return nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		stands, err := p.again(ctx, s.key)
		if err != nil {
			return err
		}
		if stands.order.Term > p.term {
			return fmt.Errorf("telling proxies: %w", errSucceeded)
		}
		p.set(s.key, stands)
	}
}

// Statements are signed and written in batches, since a batch costs the bus one sync, as one statement does. Small ones: the first
// proxies should not wait for the signatures of the last.
const (
	batchSize     = 64
	batches       = 4 // at once
	togetherTries = 3 // before each is written by itself
)

// tell says to many identities what draft returns for each; nil: nothing.
func (p *publisher) tell(ctx context.Context, ids []string, draft func(id string) (*draft, error)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(batches)
	for some := range slices.Chunk(ids, batchSize) {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return p.tellSome(ctx, some, draft)
		})
	}
	return g.Wait()
}

func (p *publisher) tellSome(ctx context.Context, ids []string, draft func(id string) (*draft, error)) error {
	var all []said
	for _, id := range ids {
		d, err := draft(id)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		s, err := p.sign(*d)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	for n := 0; n < togetherTries && len(all) > 1; n++ {
		err := p.putAll(ctx, all)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		p.c.log.WarnContext(ctx, "statements did not go out together", "number", len(all), "error", err)
		if all, err = p.unsaid(ctx, all); err != nil {
			return err
		}
	}
	for i := range all {
		if err := p.put(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// putAll writes what is signed: all of it or nothing.
func (p *publisher) putAll(ctx context.Context, all []said) error {
	writes := make([]bus.Write, len(all))
	for i, s := range all {
		writes[i] = bus.Write{Key: s.key, Value: s.data, Revision: p.at(s.key).revision}
	}
	revisions, err := p.bucket.UpdateAll(ctx, writes)
	if err != nil {
		return err
	}
	for i := range all {
		p.set(all[i].key, all[i].standing(revisions[i]))
	}
	return nil
}

// unsaid reads what stands after a write that failed, which costs no sync of the disk as writing would, and returns what is not there.
func (p *publisher) unsaid(ctx context.Context, all []said) (out []said, err error) {
	for _, s := range all {
		stands, err := p.again(ctx, s.key)
		if err != nil {
			return nil, err
		}
		if stands.order.Term > p.term {
			return nil, fmt.Errorf("telling proxies: %w", errSucceeded)
		}
		p.set(s.key, stands)
		if stands.order != s.st.Order {
			out = append(out, s)
		}
	}
	return out, nil
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

// slices brings every slice to that of a model. Those that are the same already are left; the others of renewed are
// said again although their version is the same, since a trial of another is to end.
func (p *publisher) slices(ctx context.Context, f *fleet, renewed map[string]bool) error {
	ids := f.ids()
	err := p.tell(ctx, ids, func(id string) (*draft, error) {
		stands := p.at(wire.SliceKey(id)).version
		if version, known := f.cut(id); known && version == stands && !renewed[id] {
			return nil, nil
		}
		slice := f.slice(id)
		if slice.Version == stands && !renewed[id] {
			return nil, nil
		}
		return draftSlice(id, slice, nil)
	})
	if err != nil {
		return fmt.Errorf("telling proxies what is in force: %w", err)
	}
	wanted := map[string]bool{wire.TrustKey: true}
	for _, id := range ids {
		wanted[wire.SliceKey(id)], wanted[wire.TrialKey(id)], wanted[wire.PlacesKey(id)] = true, true, true
	}
	return p.drop(ctx, wanted)
}

// trial has some instances of an identity try its slice of a model.
func (p *publisher) trial(ctx context.Context, f *fleet, id string, only []string) error {
	d, err := draftSlice(id, f.slice(id), only)
	if err != nil {
		return err
	}
	return p.say(ctx, *d)
}

// draftSlice drafts the slice of an identity, for all of its instances or for those that try it.
func draftSlice(id string, slice *model.Snapshot, only []string) (*draft, error) {
	body, err := json.Marshal(slice)
	if err != nil {
		return nil, fmt.Errorf("writing the slice of %s: %w", id, err)
	}
	key := wire.SliceKey(id)
	if only != nil {
		key = wire.TrialKey(id)
	}
	return &draft{key, wire.Statement{Kind: wire.Slice, For: id, Only: only, Version: slice.Version, Body: body}}, nil
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

// body drafts something that has no version of its own, if it is another than what stands.
func (p *publisher) body(key string, kind wire.Kind, id string, body any) (*draft, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", kind, err)
	}
	version := digest(data)
	if p.at(key).version == version {
		return nil, nil
	}
	return &draft{key, wire.Statement{Kind: kind, For: id, Version: version, Body: data}}, nil
}
