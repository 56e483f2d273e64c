package mesh

import (
	"context"
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/gate"
)

// Change is a slice compiled for a sidecar.
type Change struct {
	s       *Sidecar
	own     *model.ResolvedService
	slice   *model.Snapshot
	in, out *gate.Gate
}

var (
	errOtherKind   = errors.New("the scheme of its address changes between HTTP and TCP, which takes a restart")
	errOtherBroker = errors.New("it becomes a broker, or is none any more, which takes a restart")
)

// Prepare compiles a slice. Users finds out on whose behalf others ask. Nothing is in force before Apply.
func (s *Sidecar) Prepare(ctx context.Context, slice *model.Snapshot, users gate.Authenticator) (*Change, []model.Finding, error) {
	fail := func(findings []model.Finding, err error) (*Change, []model.Finding, error) {
		return nil, findings, fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	own := slice.ServiceByName(s.name)
	if own == nil || own.TCP() != s.tcp() {
		return fail(nil, errOtherKind)
	}
	if (own.Broker != "") != (s.broker != nil) {
		return fail(nil, errOtherBroker)
	}
	if err := CheckBroker(own); err != nil {
		return fail(nil, err)
	}
	in, findings, err := s.in.builder.Build(ctx, slice, users)
	if err != nil {
		return fail(findings, err)
	}
	out, more, err := s.out.builder.Build(ctx, slice, nobody{})
	findings = append(findings, more...)
	if err != nil {
		return fail(findings, err)
	}
	return &Change{s: s, own: own, slice: slice, in: in, out: out}, findings, nil
}

// Apply puts a prepared slice in force.
func (c *Change) Apply() {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own, s.slice = c.own, c.slice
	s.in.engine.Swap(c.in.Table)
	s.in.builder.Applied()
	s.out.engine.Swap(c.out.Table)
	s.out.builder.Applied()
	for _, carried := range s.carried {
		s.rule(carried)
	}
}
