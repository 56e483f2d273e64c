package mesh

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/revocation"
)

// Cut says what a revocation ended, and how long that took.
type Cut struct {
	Connections int           `json:"connections"`
	Took        time.Duration `json:"took_ns"` // from the command to the last connection cut
}

// Revoke refuses a service, a serial number or a node from now on, and cuts its connections.
func (m *Mesh) Revoke(ctx context.Context, kind, value, reason, by string) (Cut, error) {
	m.trusting.Lock()
	defer m.trusting.Unlock()
	began := time.Now()
	err := m.authority.Revoke(ctx, revocation.Kind(kind), value, reason, by)
	if err != nil && !errors.Is(err, authority.ErrNotDurable) {
		return Cut{}, err
	}
	cut, cutErr := m.trust(ctx)
	return Cut{Connections: cut, Took: time.Since(began)}, errors.Join(err, cutErr)
}

// Restore undoes Revoke.
func (m *Mesh) Restore(ctx context.Context, kind, value string) error {
	if err := m.authority.Restore(ctx, revocation.Kind(kind), value); err != nil {
		return err
	}
	err := m.followOnce(ctx)
	for _, h := range m.holders {
		if _, denied := h.certificate(); denied != nil {
			h.ask()
		}
	}
	return err
}

// Status is how one sidecar, or the edge, stands.
type Status struct {
	Proxy       string    `json:"proxy"` // name of the service, or edge
	ID          string    `json:"id"`
	Address     string    `json:"address,omitempty"`
	Snapshot    string    `json:"snapshot,omitempty"`
	Expires     time.Time `json:"expires,omitzero"` // of its SVID
	Connections int       `json:"connections"`      // that other services have to it
	Problem     string    `json:"problem,omitempty"`
}

// Status lists all proxies, by name.
func (m *Mesh) Status() []Status {
	out := make([]Status, 0, len(m.holders))
	for _, h := range m.holders {
		if h == m.control { // which is no proxy
			continue
		}
		st := Status{Proxy: "edge", ID: h.id.String()}
		if cert, err := h.certificate(); err == nil {
			st.Expires = cert.Leaf.NotAfter
		} else {
			st.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if s := h.sidecar; s != nil {
			st.Proxy = s.name
			if addresses, _ := m.places.of(s.name); len(addresses) > 0 {
				st.Address = addresses[0]
			}
			if t := s.in.engine.Table(); t != nil {
				st.Snapshot = t.Version
			}
			st.Connections = int(s.open.Load())
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Proxy, b.Proxy) })
	return out
}

// unexpected filters what taking over a revocation list may say without harm: a newer one is in force.
func unexpected(err error) error {
	if errors.Is(err, peer.ErrOld) {
		return nil
	}
	return err
}
