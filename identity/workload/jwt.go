package workload

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Bounds of the audiences of one token.
const (
	maxAudiences = 16
	maxAudience  = 2048 // characters; a SPIFFE ID has at most 2048
)

// FetchJWTSVID returns tokens for the audiences (SPIFFE Workload API, section 6.2.1).
func (a *api) FetchJWTSVID(ctx context.Context, req *workloadpb.JWTSVIDRequest) (*workloadpb.JWTSVIDResponse, error) {
	if len(req.Audience) == 0 || len(req.Audience) > maxAudiences {
		return nil, status.Errorf(codes.InvalidArgument, "between 1 and %d audiences must be given", maxAudiences)
	}
	for _, audience := range req.Audience {
		if audience == "" || len(audience) > maxAudience {
			return nil, status.Error(codes.InvalidArgument, "an audience is empty or too long")
		}
	}
	var wanted ID
	if req.SpiffeId != "" {
		var err error
		if wanted, err = ParseID(req.SpiffeId); err != nil {
			return nil, status.Error(codes.InvalidArgument, "the SPIFFE ID is not valid")
		}
	}
	ids, _, err := a.s.entitled(ctx)
	if err != nil {
		return nil, err
	}
	out := &workloadpb.JWTSVIDResponse{}
	for _, id := range ids {
		if !wanted.IsZero() && id.ID != wanted {
			continue
		}
		token, err := a.s.cfg.Source.JWTSVID(ctx, id.ID, req.Audience)
		if err != nil {
			return nil, a.s.refuseCall(ctx, err)
		}
		out.Svids = append(out.Svids, &workloadpb.JWTSVID{SpiffeId: id.ID.String(), Svid: token, Hint: id.Hint})
	}
	if len(out.Svids) == 0 {
		return nil, a.s.refuseCall(ctx, fmt.Errorf("asked to be %s: %w", wanted, ErrDenied))
	}
	return out, nil
}

// FetchJWTBundles streams the bundles as JWK sets (SPIFFE Workload API, section 6.2.2; RFC 7517).
func (a *api) FetchJWTBundles(_ *workloadpb.JWTBundlesRequest, stream grpc.ServerStreamingServer[workloadpb.JWTBundlesResponse]) error {
	return a.s.follow(stream.Context(), false, func(v *view) error {
		out := &workloadpb.JWTBundlesResponse{Bundles: map[string][]byte{}}
		for domain, bundle := range v.bundles.All {
			set, err := jwtbundle.FromJWTAuthorities(domain, bundle.JWT).Marshal()
			if err != nil {
				return a.s.refuseCall(stream.Context(), fmt.Errorf("encoding the bundle of %s: %w", domain, err))
			}
			out.Bundles[domain.IDString()] = set
		}
		return stream.Send(out)
	})
}

// ValidateJWTSVID verifies a token for a caller (SPIFFE Workload API, section 6.2.3).
func (a *api) ValidateJWTSVID(ctx context.Context, req *workloadpb.ValidateJWTSVIDRequest) (*workloadpb.ValidateJWTSVIDResponse, error) {
	if req.Audience == "" || req.Svid == "" {
		return nil, status.Error(codes.InvalidArgument, "an audience and a token must be given")
	}
	v, err := a.s.look(ctx, false)
	if err != nil {
		return nil, err
	}
	set := jwtbundle.NewSet()
	for domain, bundle := range v.bundles.All {
		set.Add(jwtbundle.FromJWTAuthorities(domain, bundle.JWT))
	}
	svid, err := jwtsvid.ParseAndValidate(req.Svid, set, []string{req.Audience})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	claims, err := structpb.NewStruct(svid.Claims)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the token's claims cannot be shown")
	}
	return &workloadpb.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String(), Claims: claims}, nil
}
