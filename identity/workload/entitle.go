package workload

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/attest"
)

// ServiceID is the identity of a declared service: spiffe://domain/service/name.
func ServiceID(domain TrustDomain, service string) (ID, error) {
	return spiffeid.FromSegments(domain, "service", service)
}

// ByAttestation entitles each process to the one service that it is proven to be, with the service's name as
// hint.
func ByAttestation(a *attest.Attestor, domain TrustDomain) Entitle {
	return func(ctx context.Context, caller *attest.Peer) ([]Identity, <-chan struct{}, error) {
		service, changed, err := a.Service(ctx, caller)
		if err != nil {
			return nil, changed, err
		}
		id, err := ServiceID(domain, service)
		if err != nil {
			return nil, changed, fmt.Errorf("naming service %q: %w", service, err)
		}
		return []Identity{{ID: id, Hint: service}}, changed, nil
	}
}
