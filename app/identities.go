package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// identities gives the one service of a sidecar its identity: the SPIFFE Workload API and Envoy's SDS on a Unix socket.
// Who may have it says the model's workloads; without those, it is the service that we have started ourselves in a network of its
// own, and nobody else.
type identities struct {
	service  string
	id       workload.ID
	path     string
	ln       *workload.Listener
	server   *workload.Server
	attestor *attest.Attestor
	recorder *recorder
	may      atomic.Pointer[entitled]

	mu      sync.Mutex
	told    time.Time // when a refusal was last recorded
	omitted int64     // since then
}

// entitled says who may have the identity; changed is closed when that is replaced.
type entitled struct {
	declared bool           // those whom the attestor finds to be the service
	network  attest.Network // those of our user in it
	changed  chan struct{}
}

// refusalPause is at least between two records of callers that get nothing: who asks is anybody on this host.
const refusalPause = time.Second

// maxSocketName is what sun_path holds on Linux, less the final zero.
const maxSocketName = 107

// openIdentities opens the socket at path. Nobody gets anything before declare or belongsTo.
func openIdentities(ctx context.Context, path string, id workload.ID, service string, source workload.Source, docker string, r *recorder) (*identities, error) {
	if len(path) > maxSocketName {
		return nil, fmt.Errorf("serving the Workload API at %s: the path is longer than %d bytes", path, maxSocketName)
	}
	var containers *attest.Docker
	if docker != "" {
		containers = attest.NewDocker(docker)
	}
	i := &identities{service: service, id: id, path: path, attestor: attest.NewAttestor(containers), recorder: r}
	i.may.Store(&entitled{changed: make(chan struct{})})
	var err error
	if i.server, err = workload.New(workload.Config{Source: source, Entitle: i.entitle, Refused: i.refused, Log: slog.Default()}); err != nil {
		return nil, err
	}
	if i.ln, err = workload.Listen(ctx, path); err != nil {
		return nil, fmt.Errorf("serving the Workload API: %w", err)
	}
	return i, nil
}

// variable is what tells a service where its Workload API is (SPIFFE Workload Endpoint, section 4).
func (i *identities) variable() string { return "SPIFFE_ENDPOINT_SOCKET=unix://" + i.path }

// declare takes over what the model says of the workloads of services.
func (i *identities) declare(services []model.ResolvedService) error {
	all, declared := map[string][]attest.Workload{}, false
	for n := range services {
		s := &services[n]
		for _, w := range s.Workloads {
			all[s.Name] = append(all[s.Name], attest.FromModel(w))
		}
		declared = declared || s.Name == i.service && len(s.Workloads) > 0
	}
	m, err := attest.NewMatcher(all)
	if err != nil {
		return fmt.Errorf("reading the workloads of services: %w", err)
	}
	i.attestor.SetServices(m)
	i.change(func(e *entitled) { e.declared = declared })
	return nil
}

// belongsTo gives the identity to those in the network of a child of ours that holds it open.
func (i *identities) belongsTo(pid int) error {
	network, err := attest.NetworkOf(pid)
	if err != nil {
		return err
	}
	ours, err := attest.NetworkOf(os.Getpid())
	if err != nil {
		return err
	}
	if network == ours {
		return errors.New("the service shares our network")
	}
	i.change(func(e *entitled) { e.network = network })
	return nil
}

func (i *identities) change(by func(*entitled)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.may.Load()
	next := *old
	next.changed = make(chan struct{})
	by(&next)
	i.may.Store(&next)
	close(old.changed)
}

// entitle is workload.Entitle.
func (i *identities) entitle(ctx context.Context, caller *attest.Peer) ([]workload.Identity, <-chan struct{}, error) {
	may := i.may.Load()
	one := []workload.Identity{{ID: i.id, Hint: i.service}}
	if may.declared {
		service, _, err := i.attestor.Service(ctx, caller)
		if err == nil && service != i.service {
			err = &attest.Refusal{Services: nil, Proven: nil}
		}
		if err != nil {
			return nil, may.changed, err
		}
		return one, may.changed, nil
	}
	network, err := caller.Network()
	if err != nil {
		return nil, may.changed, err
	}
	if may.network == (attest.Network{}) || network != may.network || int(caller.UID()) != os.Geteuid() {
		return nil, may.changed, &attest.Refusal{Proven: []attest.Selector{{Kind: attest.UnixUID, Value: strconv.FormatUint(uint64(caller.UID()), 10)}}}
	}
	return one, may.changed, nil
}

// refused records a caller that gets nothing.
func (i *identities) refused(ctx context.Context, caller *attest.Peer, err error) {
	now := time.Now()
	i.mu.Lock()
	if now.Sub(i.told) < refusalPause {
		i.omitted++
		i.mu.Unlock()
		return
	}
	omitted := i.omitted
	i.told, i.omitted = now, 0
	i.mu.Unlock()
	reason := "not-known-now"
	if refusal, ok := errors.AsType[*attest.Refusal](err); ok {
		reason = "no-match"
		if len(refusal.Services) > 1 {
			reason = "ambiguous"
		}
	} else if errors.Is(err, workload.ErrDenied) {
		reason = "denied"
	}
	i.recorder.Act(ctx, &event.Event{Act: &event.Act{
		Kind: event.KindIdentity, Who: fmt.Sprintf("process %d of user %d", caller.PID(), caller.UID()), Object: i.id.String(), Outcome: event.Denied,
		Reason: reason, Text: err.Error(), Proxy: i.service, Omitted: omitted,
	}})
}

// run serves until ctx ends.
func (i *identities) run(ctx context.Context) error {
	if err := i.server.Run(ctx, i.ln); ctx.Err() == nil {
		return err
	}
	return nil
}
