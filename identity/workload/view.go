package workload

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/identity/attest"
)

// maxIdentities bounds what one caller may be at a time.
const maxIdentities = 64

// view is all that one caller may see at one moment.
type view struct {
	identities []Identity
	svids      []*SVID // in the same order; empty if not asked for
	bundles    *Bundles
	changed    []<-chan struct{}
}

// callerOf returns the process behind a call.
func callerOf(ctx context.Context) (*attest.Peer, error) {
	p, ok := peer.FromContext(ctx)
	if ok {
		if info, ok := p.AuthInfo.(authInfo); ok {
			return info.caller, nil
		}
	}
	return nil, status.Error(codes.Unavailable, "the caller is not known")
}

// entitled attests the caller anew.
func (s *Server) entitled(ctx context.Context) ([]Identity, <-chan struct{}, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, changed, err := s.cfg.Entitle(ctx, caller)
	if err == nil && (len(ids) == 0 || len(ids) > maxIdentities) {
		err = ErrDenied
	}
	if err != nil {
		return nil, nil, s.refuse(ctx, caller, err)
	}
	return distinct(ids), changed, nil
}

// distinct drops a hint that was used before: among the answers to one caller each is unique (SPIFFE Workload
// API, section 5.2.1).
func distinct(ids []Identity) []Identity {
	out := slices.Clone(ids)
	for i := range out {
		if slices.ContainsFunc(out[:i], func(before Identity) bool { return before.Hint == out[i].Hint }) {
			out[i].Hint = ""
		}
	}
	return out
}

// refuse turns an error into a status (SPIFFE Workload Endpoint, section 6) and records the refusal. The caller
// learns no reasons: what it would have to be is nobody's business.
func (s *Server) refuse(ctx context.Context, caller *attest.Peer, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	if s.cfg.Refused != nil {
		s.cfg.Refused(ctx, caller, err)
	}
	if _, refused := errors.AsType[*attest.Refusal](err); refused || errors.Is(err, ErrDenied) {
		return status.Error(codes.PermissionDenied, "no identity for this workload")
	}
	return status.Error(codes.Unavailable, "identities cannot be given now")
}

// look collects what the caller may see now.
func (s *Server) look(ctx context.Context, svids bool) (*view, error) {
	ids, changed, err := s.entitled(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{identities: ids, changed: []<-chan struct{}{changed}}
	if svids {
		for _, id := range ids {
			svid, changed, err := s.cfg.Source.X509SVID(ctx, id.ID)
			if err != nil {
				return nil, s.refuseCall(ctx, err)
			}
			v.svids = append(v.svids, svid)
			v.changed = append(v.changed, changed)
		}
	}
	bundles, changed, err := s.cfg.Source.Bundles(ctx)
	if err != nil {
		return nil, s.refuseCall(ctx, err)
	}
	v.bundles = bundles
	v.changed = append(v.changed, changed)
	return v, nil
}

// refuseCall is refuse for the caller of ctx.
func (s *Server) refuseCall(ctx context.Context, err error) error {
	caller, unknown := callerOf(ctx)
	if unknown != nil {
		return unknown
	}
	return s.refuse(ctx, caller, err)
}

// same tells whether a caller would get the same answer twice.
func (v *view) same(other *view) bool {
	return other != nil && v.bundles == other.bundles && slices.Equal(v.identities, other.identities) && slices.Equal(v.svids, other.svids)
}

// follow sends the view now and after each change, until the caller leaves or is no longer entitled.
func (s *Server) follow(ctx context.Context, svids bool, send func(*view) error) error {
	var last *view
	for {
		v, err := s.look(ctx, svids)
		if err != nil {
			return err
		}
		if !v.same(last) {
			if err := send(v); err != nil {
				return err
			}
		}
		last = v
		if _, _, err := await[struct{}](ctx, v.changed, nil); err != nil {
			return err
		}
	}
}

// await waits for the first of: the end of ctx, a change, a request.
func await[T any](ctx context.Context, changed []<-chan struct{}, requests <-chan T) (request T, got bool, err error) {
	cases := make([]reflect.SelectCase, 2, 2+len(changed))
	cases[0] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}
	cases[1] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(requests)}
	for _, c := range changed {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	switch i, value, ok := reflect.Select(cases); {
	case i == 0:
		return request, false, status.FromContextError(ctx.Err()).Err()
	case i == 1 && ok:
		request, _ = reflect.TypeAssert[T](value)
		return request, true, nil
	case i == 1:
		return request, false, errClosed
	}
	return request, false, nil
}

// errClosed says that no more requests will come.
var errClosed = errors.New("no more requests")
