package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"

	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// holder keeps the newest SVID of one identity at hand, as TLS shows it.
type holder struct {
	id      workload.ID
	source  workload.Source
	sidecar *Sidecar       // whose identity it is; nil: the edge's
	trust   upstream.Trust // of the connections made under this identity
	again   chan struct{}  // capacity 1: fetch now

	mu   sync.Mutex
	cert *tls.Certificate // nil until there is one
	err  error            // why there is none
}

func (m *Mesh) hold(id workload.ID) *holder {
	h := &holder{id: id, source: m.source, again: make(chan struct{}, 1)}
	m.holders = append(m.holders, h)
	return h
}

var errNoIdentity = errors.New("no identity yet")

// certificate returns the SVID in force; it is asked at each handshake.
func (h *holder) certificate() (*tls.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.cert != nil:
		return h.cert, nil
	case h.err != nil:
		return nil, h.err
	}
	return nil, errNoIdentity
}

// fetch takes the newest SVID over and returns what tells of the next.
func (h *holder) fetch(ctx context.Context) (<-chan struct{}, error) {
	svid, changed, err := h.source.X509SVID(ctx, h.id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.err = err
		if errors.Is(err, workload.ErrDenied) {
			h.cert = nil // it is taken back; whatever else happened, the old one serves on
		}
		return changed, err
	}
	cert := &tls.Certificate{PrivateKey: svid.Key, Leaf: svid.Chain[0]}
	for _, c := range svid.Chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	h.cert, h.err = cert, nil
	return changed, nil
}

// run renews until ctx ends.
func (h *holder) run(ctx context.Context) error {
	for {
		changed, err := h.fetch(ctx)
		if err == nil {
			h.trust.Renew()
		}
		select {
		case <-changed:
		case <-h.again:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask fetches an SVID that was denied before: what is denied is not asked for again by itself.
func (h *holder) ask() {
	select {
	case h.again <- struct{}{}:
	default: // it is about to
	}
}
