package mesh

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/egress"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen"
)

// Open serves what the service asks at a door. It may be called before Run. Close takes no more there; what has begun
// ends by itself, or with Run.
func (s *Sidecar) Open(ctx context.Context, d model.Door, ln net.Listener) (closed func(), err error) {
	switch {
	case d.Outside:
		return s.carryOutside(egress.Fixed(d.Name, d.Port), ln), nil
	case d.TCP:
		return s.carryOutbound(d, ln), nil
	}
	server, err := listen.Bind(ctx, s.options("outbound", listen.Options{
		Listener: ln, Clear: true, Handler: s.ask(d.Name),
		Peer: func(*tls.ConnectionState, io.Closer) (*proxy.Workload, func(), error) { return s.self, nil, nil },
		Refused: func(ctx context.Context, remote net.Addr, err error) {
			s.refusals.add(ctx, remote, fmt.Errorf("calling %q: %w", cmp.Or(d.Name, "a service"), err))
		},
	}))
	if err != nil {
		return nil, fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	return s.until(server.Run), nil
}

// until runs a server of what the service asks, until it is closed or the sidecar ends.
func (s *Sidecar) until(run func(context.Context) error) (closed func()) {
	done := make(chan struct{})
	s.asking.do(func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		var watching sync.WaitGroup
		defer watching.Wait()
		defer cancel()
		watching.Go(func() {
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		})
		return run(ctx)
	})
	return sync.OnceFunc(func() { close(done) })
}

// ask serves calls as calls of one service, whatever the caller calls it; without a name, of the one that it names.
func (s *Sidecar) ask(callee string) engine.Handler {
	return engine.HandlerFunc(func(ctx context.Context, c *engine.Call) bool {
		if callee != "" {
			c.Host = callee
		}
		return s.out.engine.Serve(ctx, c)
	})
}
