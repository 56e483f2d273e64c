package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/store/table"
)

// fleet is a model in force, indexed. It is immutable.
type fleet struct {
	table.Enforcement
	snap    *model.Snapshot
	slicer  *model.Slicer
	edge    string              // SPIFFE ID
	names   map[string]string   // SPIFFE ID of a service to its name
	calls   map[string][]string // SPIFFE ID to the names of the services it may call
	callers map[string][]string // name of a service to the SPIFFE IDs of those that may call it
	matcher *attest.Matcher     // of workloads in Kubernetes

	versions *sync.Map // SPIFFE ID to the version of its slice, of those that were asked for
}

func newFleet(e table.Enforcement, snap *model.Snapshot) (*fleet, error) {
	slicer := model.NewSlicer(snap)
	slicer.NarrowPolicies(policy.Scopes(snap.Policies))
	f := &fleet{
		Enforcement: e, snap: snap, slicer: slicer, edge: model.EdgeID(snap.TrustDomain),
		names: make(map[string]string, len(snap.Services)), versions: new(sync.Map),
	}
	pods := map[string][]attest.Workload{}
	for i := range snap.Services {
		s := &snap.Services[i]
		f.names[s.ID] = s.Name
		for _, w := range s.Workloads {
			// A pod proves its service account and nothing else to control.
			if w.Kubernetes != nil && w.Unix == nil && w.Container == nil {
				pods[s.Name] = append(pods[s.Name], attest.FromModel(w))
			}
		}
	}
	f.index()
	var err error
	f.matcher, err = attest.NewMatcher(pods)
	return f, err
}

// index notes who may call whom.
func (f *fleet) index() {
	f.calls, f.callers = map[string][]string{}, map[string][]string{}
	note := func(caller, name string) {
		f.calls[caller], f.callers[name] = append(f.calls[caller], name), append(f.callers[name], caller)
	}
	for i := range f.snap.Services {
		s := &f.snap.Services[i]
		for _, caller := range s.Callers {
			note(model.ServiceID(f.snap.TrustDomain, caller), s.Name)
		}
	}
	exposed := map[string]bool{}
	for i := range f.snap.Routes {
		if name := f.snap.Routes[i].Service; !exposed[name] {
			exposed[name] = true
			note(f.edge, name)
		}
	}
}

// has tells whether an identity is one of the fleet's proxies.
func (f *fleet) has(id string) bool { return id == f.edge || f.names[id] != "" }

// proxies are the identities of what people write for them: service/NAME or edge/edge.
func (f *fleet) proxies(names []string) (map[string]bool, error) {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		id := "spiffe://" + f.snap.TrustDomain + "/" + name
		if !f.has(id) {
			return nil, fmt.Errorf("%q is no proxy of the model; expected service/NAME or edge/%s", name, model.EdgeName)
		}
		out[id] = true
	}
	return out, nil
}

// slice cuts what one identity needs; nil if the model does not know it.
func (f *fleet) slice(id string) *model.Snapshot {
	var out *model.Snapshot
	if id == f.edge {
		out = f.slicer.Edge()
	} else if name := f.names[id]; name != "" {
		out = f.slicer.Service(name)
	}
	if out != nil {
		f.versions.Store(id, out.Version)
	}
	return out
}

// cut returns the version of the slice of an identity if that has been cut already: it costs much.
func (f *fleet) cut(id string) (version string, known bool) {
	if v, ok := f.versions.Load(id); ok {
		version, known = v.(string)
	}
	return version, known
}

// version is that of the slice of an identity; empty if the model does not know it.
func (f *fleet) version(id string) string {
	if version, known := f.cut(id); known {
		return version
	}
	if slice := f.slice(id); slice != nil {
		return slice.Version
	}
	return ""
}

// ids are the edge and every service.
func (f *fleet) ids() []string {
	out := make([]string, 1, 1+len(f.snap.Services))
	out[0] = f.edge
	for i := range f.snap.Services {
		out = append(out, f.snap.Services[i].ID)
	}
	return out
}

// ttl is how long SVIDs of the fleet live.
func (f *fleet) ttl() time.Duration {
	if f == nil || f.snap.Mesh == nil {
		return 0
	}
	return f.snap.Mesh.SVID.Lifetime.Std()
}

// kind of a proxy, as rollouts tell them apart.
func (f *fleet) kind(id string) string {
	if id == f.edge {
		return "edge"
	}
	return "sidecar"
}

// parseModel reads a model as the store keeps it, and holds that it is one for this fleet. It was held against its version before it
// came into the store; what an earlier build wrote there may say less than this one, and is taken.
func (c *Control) parseModel(data []byte) (*model.Snapshot, error) {
	snap := new(model.Snapshot)
	if err := json.Unmarshal(data, snap); err != nil {
		return nil, fmt.Errorf("reading a model: %w", err)
	}
	return snap, c.checkModel(snap)
}

// offered reads a model as administrators send it: one that says what its version says.
func (c *Control) offered(data []byte) (*model.Snapshot, error) {
	snap := new(model.Snapshot)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // no version covers what this build does not know, and a later one may read it
	if err := d.Decode(snap); err != nil {
		return nil, fmt.Errorf("reading a model: %w", err)
	}
	if err := c.checkModel(snap); err != nil {
		return nil, err
	}
	if err := snap.Verify(); err != nil {
		return nil, fmt.Errorf("the model: %w", err)
	}
	return snap, nil
}

// again reads a model of the history that is to come into force once more.
func (c *Control) again(m *table.Model) (*model.Snapshot, error) {
	snap, err := c.parseModel(m.Document)
	if err != nil {
		return nil, err
	}
	if err := snap.Verify(); snap.Version != m.Version || err != nil && !errors.Is(err, model.ErrNoOrigin) { // earlier builds wrote none
		return nil, fmt.Errorf("the model %q of the history is not what it was when it was written: %w", m.Version, cmp.Or(err, model.ErrEdited))
	}
	return snap, nil
}

func (c *Control) checkModel(snap *model.Snapshot) error {
	switch {
	case snap.TrustDomain != c.o.Domain:
		return fmt.Errorf("the model is of trust domain %q, not of %q", snap.TrustDomain, c.o.Domain)
	case snap.Self != "":
		return errors.New("the model is a slice of one")
	case snap.Version == "":
		return errors.New("the model has no version; it must be a compiled one")
	case snap.Mesh == nil:
		return errors.New("the model has no mesh, and control nothing to do")
	}
	for i := range snap.Services {
		s := &snap.Services[i]
		if s.ID != model.ServiceID(c.o.Domain, s.Name) || i > 0 && strings.Compare(snap.Services[i-1].Name, s.Name) >= 0 {
			return fmt.Errorf("the service %q of the model is not as the compiler writes it", s.Name)
		}
	}
	return nil
}

// firstModel loads what is in force, or puts the given model in force if nothing is.
func (c *Control) firstModel(ctx context.Context) error {
	if m := c.o.Model; m != nil {
		if err := c.checkModel(m); err != nil {
			return err
		}
		document, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("writing the model: %w", err)
		}
		now := time.Now()
		err = c.o.Store.Write(ctx, func(t *table.Tx) error {
			if _, err := t.InForce(ctx); !errors.Is(err, table.ErrNotFound) {
				return err
			}
			if err := t.AddModel(ctx, table.Model{Version: m.Version, Document: document, Added: now, Author: "control"}); err != nil {
				return err
			}
			_, err := t.Enforce(ctx, table.Enforcement{Version: m.Version, Since: now, Author: "control", Note: "the first"}, 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("putting the first model in force: %w", err)
		}
	}
	return c.loadFleet(ctx)
}

// loadFleet takes over the model that the store says is in force.
func (c *Control) loadFleet(ctx context.Context) error {
	var e table.Enforcement
	var m table.Model
	old := c.fleet.Load()
	err := c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		if e, err = t.InForce(ctx); err == nil && (old == nil || old.Number != e.Number) {
			m, err = t.Model(ctx, e.Version)
		}
		return err
	})
	switch {
	case errors.Is(err, table.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("reading the model in force: %w", err)
	case old != nil && old.Number == e.Number:
		return nil
	}
	snap, err := c.parseModel(m.Document)
	if err != nil {
		return fmt.Errorf("reading the model in force: %w", err)
	}
	f, err := newFleet(e, snap)
	if err != nil {
		return fmt.Errorf("reading the model in force: %w", err)
	}
	c.fleet.Store(f)
	return nil
}
