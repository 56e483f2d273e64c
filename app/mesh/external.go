package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// external is another Workload API that issues the identities of the mesh: it gives this process those of the edge and of
// every service.
type external struct {
	*workload.External
	at string
}

// answerTime is how long a Workload API may take at the start.
const answerTime = 30 * time.Second

func openExternal(ctx context.Context, at string) (*external, error) {
	e, err := workload.NewExternal(ctx, at)
	if err != nil {
		return nil, err
	}
	return &external{e, at}, nil
}

// trust is what the other one's SVIDs are verified with.
func (e *external) trust(ctx context.Context) (*peer.Trust, error) {
	b, _, err := e.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	return peer.NewTrust(b.OwnBundle())
}

// has tells why an identity is not to be had. At the start somebody must be told; later it may come and go.
func (e *external) has(ctx context.Context, h *holder) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := h.fetch(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("mesh.issuer.workload_api: nobody has answered at %s", e.at)
	case errors.Is(err, workload.ErrDenied):
		return fmt.Errorf("mesh.issuer.workload_api: %s gives this process no SVID of %s; register it there: %w", e.at, h.id, err)
	}
	return nil
}
