package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// tunnel is a connection that has switched protocols.
type tunnel struct{ client, service io.Closer }

// tunnels are all open ones, so that a drain can end them.
type tunnels struct {
	mu   sync.Mutex
	open map[*tunnel]struct{}

	recorded sync.WaitGroup // one for each tunnel until its event is written
}

func (t *tunnels) add(n *tunnel)    { t.mu.Lock(); t.open[n] = struct{}{}; t.mu.Unlock() }
func (t *tunnels) remove(n *tunnel) { t.mu.Lock(); delete(t.open, n); t.mu.Unlock() }

func (t *tunnels) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range t.open {
		_ = n.client.Close() // ending it is all that is left to do
		_ = n.service.Close()
	}
}

// upgrader is the second interface of transports that can switch protocols.
type upgrader interface {
	Upgrade(ctx context.Context, r *upstream.Request) (*upstream.Response, io.ReadWriteCloser, error)
}

// tunnel switches protocols with the service, then with the client, and copies until one side ends.
func (x *exchange) tunnel(out *upstream.Request, began time.Time) {
	up, ok := x.route.Service.Transport.(upgrader)
	if !ok {
		x.forwardFailed(began, &proxy.Denial{Kind: proxy.KindUpstream, Reasons: []event.Reason{{Code: "no-upgrade", Text: "the service's protocol cannot switch"}}})
		return
	}
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", x.out.Upgrade)
	resp, service, err := up.Upgrade(x.ctx, out)
	x.reached(began)
	if err != nil {
		x.forwardFailed(began, x.upstreamDenial(err))
		return
	}
	x.noteUpstream(resp)
	x.settled(nil, began)
	if service == nil {
		defer resp.Body.Close()
		x.relay(resp)
		return
	}
	defer service.Close()
	x.join(resp, service)
}

// join answers 101 and makes a tunnel of the two connections.
func (x *exchange) join(resp *upstream.Response, service io.ReadWriteCloser) {
	x.answerHeader(resp)
	x.head.Add("Connection", "Upgrade")
	x.head.Add("Upgrade", resp.Header.Get("Upgrade"))
	x.call.Line.WriteWithin(x.table.Write)
	conn, err := x.call.Line.Switch(x.head)
	if errors.Is(err, ErrEarly) {
		d := &proxy.Denial{Kind: proxy.KindMalformed, Reasons: []event.Reason{{Code: "upgrade-pipelined", Text: ErrEarly.Error()}}}
		d.Header.Set("Connection", "close")
		x.refuse(d)
		return
	}
	x.ended() // nobody looks into a tunnel
	x.answered = true
	x.ev.Status = http.StatusSwitchingProtocols
	if err != nil {
		x.ev.Aborted = "client"
		x.broken = true
		return
	}
	defer conn.Close()
	n := &tunnel{client: conn, service: service}
	x.tunnelled = true
	x.engine.tunnels.recorded.Add(1)
	x.engine.tunnels.add(n)
	defer x.engine.tunnels.remove(n)
	still := watchTunnel(x.table.Tunnel, func() {
		_ = conn.Close() // ending it is all that is left to do
		_ = service.Close()
	})
	x.copyTunnel(conn, service, still)
	if still.stop() {
		x.ev.Aborted = "timeout"
	}
}

// copyTunnel copies both ways until one side ends, then ends the other.
func (x *exchange) copyTunnel(conn net.Conn, service io.ReadWriteCloser, still *stillness) {
	done := make(chan int64, 1)
	go func() {
		n, err := io.Copy(service, still.reads(conn))
		if err != nil && !errors.Is(err, net.ErrClosed) {
			_ = service.Close() // wakes the other direction
		} else if half, ok := service.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		} else {
			_ = service.Close()
		}
		done <- n
	}()
	n, _ := io.Copy(taker{conn, x.table.Write}, still.reads(service)) // how a tunnel ended is its two ends' business
	x.ev.BytesOut += n
	_ = conn.Close()
	_ = service.Close() // a service that reads nothing would hold the other direction for ever
	x.tunnelIn = <-done
}

// taker is a client that must take every write within a time.
type taker struct {
	net.Conn
	within time.Duration
}

func (t taker) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.within)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}
