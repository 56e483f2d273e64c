package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// broker answers a NATS server of the fleet who connects and what for. Services reach the server through its sidecar
// alone, which shows it a ticket in their place.
type broker struct {
	service string
	keys    *bus.Keys
	clients atomic.Pointer[map[string]bus.Permissions] // by SPIFFE ID
	log     *slog.Logger

	begun  sync.Once
	client *bus.Client   // set once asked is closed
	asked  chan struct{} // closed once the server can ask us
}

// newBroker reads the keys by which the server obeys; nil if the service is no broker.
func newBroker(s *model.ResolvedService, log *slog.Logger) (*broker, error) {
	if s.Broker == "" {
		return nil, nil //nolint:nilnil // most services are none
	}
	text, err := s.Keys.Resolve(os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("services.%s.broker_keys: %w; palisade export nats %s makes them", s.Name, err, s.Name)
	}
	keys, err := bus.ParseKeys([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("services.%s.broker_keys: %w", s.Name, err)
	}
	b := &broker{service: s.Name, keys: keys, log: log, asked: make(chan struct{})}
	b.clients.Store(&map[string]bus.Permissions{})
	return b, nil
}

// CheckBroker tells why a broker could not hold what a model declares, or nil.
func CheckBroker(s *model.ResolvedService) error {
	for _, c := range s.Clients {
		if err := permissionsOf(&c).Check(); err != nil {
			return fmt.Errorf("services.%s: what it may do at %q: %w", c.Service, s.Name, err)
		}
	}
	return nil
}

func permissionsOf(c *model.BrokerClient) bus.Permissions {
	return bus.Permissions{Publish: c.Publish, Subscribe: c.Subscribe, ManyAnswers: true}
}

// permit puts what a model declares in force for connections to come, and returns it as terms of those that are.
func (b *broker) permit(s *model.ResolvedService) (terms map[string]string) {
	clients := map[string]bus.Permissions{}
	terms = map[string]string{}
	for i := range s.Clients {
		c := &s.Clients[i]
		clients[c.ID] = permissionsOf(c)
		terms[c.ID] = strings.Join(slices.Concat(c.Publish, []string{" "}, c.Subscribe), "\n")
	}
	b.clients.Store(&clients)
	return terms
}

// protocol is how the sidecar speaks with the server.
func (b *broker) protocol() *stream.NATS {
	return &stream.NATS{Token: b.token, Inbox: func(w *proxy.Workload) string { return bus.Inbox(w.SPIFFEID) }, Inboxes: bus.Inboxes}
}

// token waits until there is somebody whom the server can ask: clients of NATS give up for good if they are refused
// twice.
func (b *broker) token(ctx context.Context, caller *proxy.Workload) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	select {
	case <-b.asked:
	case <-ctx.Done():
		return "", fmt.Errorf("the broker has not been reached: %w", context.Cause(ctx))
	}
	if err := b.client.Await(ctx); err != nil {
		return "", err
	}
	return b.keys.Ticket(caller.SPIFFEID, time.Now())
}

// run answers until ctx ends.
func (b *broker) run(ctx context.Context, address string, connect func(context.Context) (net.Conn, error)) error {
	client, err := bus.Connect(ctx, bus.Options{
		Name: "sidecar of " + b.service, URLs: []string{"nats://" + address}, Keys: b.keys, Role: bus.Callout, Log: b.log.With("broker", b.service),
		Dial: func(string, string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, handshakeTime)
			defer cancel()
			return connect(ctx)
		},
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sidecar of %q: %w", b.service, err)
	}
	b.client = client
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		client.Close(ctx)
	}()
	answers, err := bus.NewAuthorizer(bus.CalloutOptions{
		Keys: b.keys, Log: b.log, Session: -1, // connections end with those to the sidecar
		Token: func(_ context.Context, token string) (bus.Identity, error) {
			return b.keys.ReadTicket(token, time.Now())
		},
		Permit:  func(id string) (bus.Permissions, bool) { p, ok := (*b.clients.Load())[id]; return p, ok },
		Decided: b.decided,
		Ready:   func() { close(b.asked) },
	})
	if err != nil {
		return fmt.Errorf("sidecar of %q: %w", b.service, err)
	}
	if err := answers.Run(ctx, client); ctx.Err() == nil {
		return fmt.Errorf("sidecar of %q: %w", b.service, err)
	}
	return nil
}

func (b *broker) decided(ctx context.Context, d bus.Decision) {
	if d.Denied != nil {
		b.log.WarnContext(ctx, "a client of a broker is not let in", "broker", b.service, "id", d.ID, "address", d.Address, "reason", d.Denied)
	}
}
