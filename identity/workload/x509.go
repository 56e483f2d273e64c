package workload

import (
	"crypto/x509"
	"fmt"

	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
)

// api is the SPIFFE Workload API. The profile for WIT-SVIDs is not served: Unimplemented, as the specification
// wants it.
type api struct {
	workloadpb.UnimplementedSpiffeWorkloadAPIServer
	s *Server
}

// FetchX509SVID streams the caller's SVIDs and all bundles (SPIFFE Workload API, section 5.2.1).
func (a *api) FetchX509SVID(_ *workloadpb.X509SVIDRequest, stream grpc.ServerStreamingServer[workloadpb.X509SVIDResponse]) error {
	return a.s.follow(stream.Context(), true, func(v *view) error {
		answer, err := x509Answer(v)
		if err != nil {
			return a.s.refuseCall(stream.Context(), err)
		}
		return stream.Send(answer)
	})
}

func x509Answer(v *view) (*workloadpb.X509SVIDResponse, error) {
	out := &workloadpb.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
	for i, svid := range v.svids {
		bundle := v.bundles.All[svid.ID.TrustDomain()]
		if len(bundle.X509) == 0 {
			return nil, fmt.Errorf("no bundle for %s", svid.ID)
		}
		key, err := x509.MarshalPKCS8PrivateKey(svid.Key)
		if err != nil {
			return nil, fmt.Errorf("encoding the key of %s: %w", svid.ID, err)
		}
		out.Svids = append(out.Svids, &workloadpb.X509SVID{
			SpiffeId: svid.ID.String(), X509Svid: der(svid.Chain), X509SvidKey: key,
			Bundle: der(bundle.X509), Hint: v.identities[i].Hint,
		})
	}
	for domain, bundle := range v.bundles.All {
		if domain != v.bundles.Own {
			out.FederatedBundles[domain.IDString()] = der(bundle.X509)
		}
	}
	return out, nil
}

// FetchX509Bundles streams the bundles (SPIFFE Workload API, section 5.2.2).
func (a *api) FetchX509Bundles(_ *workloadpb.X509BundlesRequest, stream grpc.ServerStreamingServer[workloadpb.X509BundlesResponse]) error {
	return a.s.follow(stream.Context(), false, func(v *view) error {
		out := &workloadpb.X509BundlesResponse{Bundles: map[string][]byte{}}
		for domain, bundle := range v.bundles.All {
			out.Bundles[domain.IDString()] = der(bundle.X509)
		}
		return stream.Send(out)
	})
}

// der concatenates certificates.
func der(certs []*x509.Certificate) []byte {
	n := 0
	for _, c := range certs {
		n += len(c.Raw)
	}
	out := make([]byte, 0, n)
	for _, c := range certs {
		out = append(out, c.Raw...)
	}
	return out
}
