package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/token"
)

// tellTrust keeps every proxy's trust up to date.
func (l *leader) tellTrust(ctx context.Context) error {
	for {
		authority, issuer, desk := l.c.authority.Watch(), l.c.replaced(ctx), l.c.desk.moved.wait()
		var federated <-chan struct{}
		if l.c.federated != nil {
			federated = l.c.federated.Watch()
		}
		if err := l.sayTrust(ctx); err != nil {
			if errors.Is(err, errSucceeded) || ctx.Err() != nil {
				return err
			}
			l.c.log.ErrorContext(ctx, "proxies not told whom to trust", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-authority:
			continue // at once: it may be a revocation
		case <-federated:
			continue
		case <-issuer:
			continue
		case <-desk:
		}
		if !l.rest(ctx, rebuild, authority) {
			return nil
		}
	}
}

// rest waits a moment unless something urgent happens; false when ctx has ended.
func (l *leader) rest(ctx context.Context, moment time.Duration, urgent <-chan struct{}) bool {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-urgent:
	case <-timer.C:
	}
	return true
}

// sayTrust says whom to trust now. One at a time: what is gathered first must not be said last.
func (l *leader) sayTrust(ctx context.Context) error {
	l.trusting.Lock()
	defer l.trusting.Unlock()
	c := l.c
	others := c.federatedWith(ctx)
	body := wire.TrustBody{Bundles: map[string]json.RawMessage{}, Keys: c.keys, JWKS: c.desk.jwks(c.fleet.Load(), c.authority.Revoked())}
	own, err := c.bundle().Marshal()
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	for _, b := range others {
		data, err := b.Marshal()
		if err != nil {
			return fmt.Errorf("writing the bundle of %s: %w", b.TrustDomain(), err)
		}
		body.Bundles[b.TrustDomain().Name()] = data
	}
	body.Bundles[c.o.Domain] = own
	if body.Revoked, err = c.authority.Revoked().Encode(); err != nil {
		return fmt.Errorf("writing the revocation list: %w", err)
	}
	d, err := l.pub.body(wire.TrustKey, wire.Trust, "", body)
	if err != nil || d == nil {
		return err
	}
	return l.pub.say(ctx, *d)
}

// federatedWith returns the bundles of the other trust domains. Another issuer is looked at anew: what woke us may be its.
func (c *Control) federatedWith(ctx context.Context) []*workload.SPIFFEBundle {
	switch {
	case c.o.Issuer != nil:
		_ = c.trust(ctx) // followAuthority says what is wrong
		return c.issued.Load().Federated()
	case c.federated != nil:
		return c.federated.Bundles()
	}
	return nil
}

// tellPlaces keeps every proxy's knowledge of its callees up to date.
func (l *leader) tellPlaces(ctx context.Context) error {
	for {
		changed, model := l.c.desk.moved.wait(), l.c.news.wait()
		if err := l.sayPlaces(ctx); err != nil {
			if errors.Is(err, errSucceeded) || ctx.Err() != nil {
				return err
			}
			l.c.log.ErrorContext(ctx, "proxies not told where services are", "error", err)
		}
		tick := time.NewTimer(reportEvery) // who is silent makes no news
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		case <-model:
			tick.Stop()
		case <-changed:
			tick.Stop()
			if !l.rest(ctx, rebuild, nil) {
				return nil
			}
		}
	}
}

// sayPlaces says where services are. Who tries a model is told of those that it may call by that one, too.
func (l *leader) sayPlaces(ctx context.Context) error {
	l.placing.Lock()
	defer l.placing.Unlock()
	f := l.c.fleet.Load()
	if f == nil {
		return nil
	}
	places, trying := l.c.desk.places(f, l.since), l.trying
	concerned := l.concerned(f, places)
	err := l.pub.tell(ctx, concerned, func(id string) (*draft, error) {
		mine, key := f.callees(id, places), wire.PlacesKey(id)
		if trying != nil && trying.ids[id] {
			maps.Copy(mine, trying.next.callees(id, places))
		}
		if len(mine) == 0 && l.pub.at(key).version == "" {
			return nil, nil
		}
		return l.pub.body(key, wire.Places, id, mine)
	})
	if err != nil {
		return err
	}
	l.told, l.toldOf, l.toldTry = places, f, trying
	return nil
}

// setTrying says which model is on trial from now on; nil: none.
func (l *leader) setTrying(t *tried) {
	l.placing.Lock()
	defer l.placing.Unlock()
	l.trying = t
}

// concerned returns who calls a service whose places are others than was told; all, if they were told by another model.
func (l *leader) concerned(f *fleet, places map[string][]string) []string {
	if l.toldOf != f {
		return f.ids()
	}
	callers := map[string]bool{}
	note := func(name string) {
		for _, id := range f.callers[name] {
			callers[id] = true
		}
	}
	for name, at := range places {
		if !slices.Equal(at, l.told[name]) {
			note(name)
		}
	}
	for name := range l.told {
		if len(places[name]) == 0 {
			note(name)
		}
	}
	if l.trying != l.toldTry {
		for _, t := range []*tried{l.trying, l.toldTry} {
			if t != nil {
				maps.Copy(callers, t.ids)
			}
		}
	}
	return slices.Sorted(maps.Keys(callers))
}

// callees picks the places of the services that one identity may call.
func (f *fleet) callees(id string, places map[string][]string) wire.PlacesBody {
	out := wire.PlacesBody{}
	for _, name := range f.calls[id] {
		if at := places[name]; len(at) > 0 {
			out[name] = at
		}
	}
	return out
}

// places returns where the sidecars of services take calls. Declared addresses come first in the model and are not
// looked at here. Those that are silent are left out, but not before a leader has listened long enough itself.
func (d *desk) places(f *fleet, since time.Time) map[string][]string {
	now := time.Now()
	settled := now.Sub(since) > awayAfter
	out := map[string][]string{}
	for _, e := range d.entries() {
		name := f.names[e.ID]
		if name == "" || e.Report.Leaving || settled && e.away(now) {
			continue
		}
		for _, a := range e.Report.Addresses {
			if !slices.Contains(out[name], a) {
				out[name] = append(out[name], a)
			}
		}
	}
	for _, at := range out {
		slices.Sort(at)
	}
	return out
}

// maxTokenKeys is how many keys verifiers of transaction tokens take.
const maxTokenKeys = 128

// jwks gathers the keys by which proxies at the edge sign transaction tokens, those heard of last if there are too many. One that is away
// for a while may be back, and what it signed is still about; so its keys stay as long as its report does. Keys of what is
// revoked go at once. What a taken edge reports must not make proxies refuse the statement that revokes it: keys are read here.
func (d *desk) jwks(f *fleet, list *revocation.List) json.RawMessage {
	all := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	seen := map[string]bool{}
	for _, e := range d.edges(f) {
		if denied(list, e.ID, &e.Report, false) != "" {
			continue
		}
		keys, err := token.PublishedKeys(e.Report.Keys)
		if err != nil {
			continue // of another version of the program, or a lie
		}
		for _, key := range keys {
			if !seen[string(key)] && len(all.Keys) < maxTokenKeys {
				seen[string(key)] = true
				all.Keys = append(all.Keys, key)
			}
		}
	}
	slices.SortFunc(all.Keys, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	out, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return out
}

// edges are what proxies at the edge last said, the newest first.
func (d *desk) edges(f *fleet) []*entry {
	if f == nil {
		return nil
	}
	out := slices.DeleteFunc(d.of(f.edge), func(e *entry) bool { return len(e.Report.Keys) == 0 })
	slices.SortFunc(out, func(a, b *entry) int { return b.Seen.Compare(a.Seen) })
	return out
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
