package mesh

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/internal/accept"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/egress"
)

// captured takes connections that packet filters brought to the sidecar, and hands each to what stands for the
// destination that it was meant for. That alone decides, no word of the service: what is for the address of a service that
// may be called is a call of that one, whatever the Host; anything else is for outside the fleet, where all is refused,
// and recorded, that is not declared.
type captured struct {
	s       *Sidecar
	outside *queue

	mu    sync.Mutex
	slice *model.Snapshot // that doors are of
	doors map[netip.AddrPort]model.Door
	open  map[model.Door]*opened
}

// opened is a door behind which the sidecar serves.
type opened struct {
	*queue
	closed func()
}

// Capture serves redirected connections on sockets ("palisade capture"), which must not be MPTCP: those do not know
// where a connection was meant to go. It may be called before Run. Close takes no more; what has begun ends by itself, or with Run.
func (s *Sidecar) Capture(listeners ...net.Listener) (closed func()) {
	c := &captured{s: s, open: map[model.Door]*opened{}, outside: newQueue(listeners[0].Addr())}
	closes := []func(){s.carryOutside(meant, c.outside)}
	for _, ln := range listeners {
		closes = append(closes, s.until(func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // wakes accept
			defer stop()
			defer ln.Close()
			return accept.Loop(ctx, ln, func(conn net.Conn) { c.take(ctx, conn) })
		}))
	}
	return func() {
		for _, f := range closes {
			f()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.doors = nil
		c.forget()
	}
}

// meant is where a redirected connection was meant to go.
func meant(c net.Conn) (egress.Wanted, error) {
	to, err := capture.Original(c)
	if err != nil {
		return egress.Wanted{}, err
	}
	return egress.Wanted{Host: to.Addr().String(), Port: int(to.Port())}, nil
}

// take hands a connection over. One whose destination is not known is refused as one to outside would be.
func (c *captured) take(ctx context.Context, conn net.Conn) {
	q := c.outside
	if to, err := capture.Original(conn); err == nil {
		if inside := c.find(ctx, to); inside != nil {
			q = inside
		}
	}
	q.push(conn)
}

// find returns what serves connections to an address within the fleet, or nil.
func (c *captured) find(ctx context.Context, to netip.AddrPort) *queue {
	c.s.mu.Lock()
	slice := c.s.slice
	c.s.mu.Unlock()
	if slice == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slice != c.slice {
		c.slice, c.doors = slice, doorsTo(slice, c.s.name)
		c.forget()
	}
	d, known := c.doors[to]
	if !known {
		d, known = c.place(to)
	}
	if !known {
		return nil
	}
	if o := c.open[d]; o != nil {
		return o.queue
	}
	o := &opened{queue: newQueue(c.outside.Addr())}
	var err error
	if o.closed, err = c.s.Open(ctx, d, o); err != nil {
		c.s.Log.ErrorContext(ctx, "a captured connection is refused", "service", c.s.name, "to", to, "error", err)
		return nil
	}
	c.open[d] = o
	return o.queue
}

// place finds a service by one of its sidecars.
func (c *captured) place(to netip.AddrPort) (model.Door, bool) {
	for i := range c.slice.Services {
		svc := &c.slice.Services[i]
		if svc.Name == c.s.name {
			continue
		}
		if addresses, _ := c.s.Places(svc.Name); slices.Contains(addresses, to.String()) {
			return doorOf(svc), true
		}
	}
	return model.Door{}, false
}

// forget closes the doors that a slice does not have any more.
func (c *captured) forget() {
	kept := map[model.Door]bool{}
	for _, d := range c.doors {
		kept[d] = true
	}
	for d, o := range c.open {
		if !kept[d] {
			o.closed()
			delete(c.open, d)
		}
	}
}

// doorOf leads to a service from wherever it was meant.
func doorOf(svc *model.ResolvedService) model.Door {
	return model.Door{Name: svc.Name, Port: svc.Port(), TCP: svc.TCP()}
}

// doorsTo are the addresses by which a slice knows what its service may ask: doors, and the addresses of services and of
// their sidecars. Where two services that speak HTTP have one address, the request says which it means, as at a
// door without a name; any other two cannot be told apart.
func doorsTo(slice *model.Snapshot, service string) map[netip.AddrPort]model.Door {
	out := map[netip.AddrPort]model.Door{}
	for _, d := range slice.Doors(service) {
		at := d.At
		d.At = netip.AddrPort{}
		out[at] = d
	}
	var lost []netip.AddrPort
	for i := range slice.Services {
		svc := &slice.Services[i]
		if svc.Name == service {
			continue
		}
		for _, text := range append([]string{svc.HostPort()}, svc.Sidecars...) {
			at, err := netip.ParseAddrPort(text)
			if err != nil {
				continue // a name, behind which may be anything
			}
			at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
			d := doorOf(svc)
			switch other, taken := out[at]; {
			case !taken || other == d:
				out[at] = d
			case other.TCP || d.TCP || other.Outside:
				lost = append(lost, at)
			default:
				out[at] = model.Door{Port: d.Port}
			}
		}
	}
	for _, at := range lost {
		delete(out, at)
	}
	return out
}
