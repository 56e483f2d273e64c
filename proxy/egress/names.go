package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	keepFound  = 30 * time.Second // the resolver tells no times to live, so all live for as long as the short ones do
	keepFailed = time.Second
	mostKept   = 4096 // names
	mostFound  = 16   // addresses of one name
)

// Names resolves names of hosts outside the fleet to addresses that may be reached. It is safe for concurrent use.
type Names struct {
	resolver  Resolver
	reachable func(netip.Addr) bool

	mu   sync.Mutex
	kept map[string]*found
}

// found is what is known about a name; done is closed once it is.
type found struct {
	done      chan struct{}
	addresses []netip.Addr
	err       error
	until     time.Time
}

// NewNames asks r; nil: the operating system's resolver.
func NewNames(r Resolver) *Names {
	if r == nil {
		r = &net.Resolver{PreferGo: true}
	}
	return &Names{resolver: r, reachable: Reachable, kept: map[string]*found{}}
}

// Reachable tells whether an address outside the fleet may be reached: it is one of the public Internet, and not one
// under which a cloud tells its machines secrets.
func Reachable(a netip.Addr) bool {
	azure := netip.AddrFrom4([4]byte{168, 63, 129, 16}) // the others lie in private ranges
	return model.Public(a) && bare(a) != azure
}

// bare is an address in the one form that is compared.
func bare(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Lookup returns the addresses of a host, which may itself be one, that may be reached.
func (n *Names) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return n.check([]netip.Addr{a})
	}
	f, mine := n.entry(host)
	if mine {
		// Others wait for the same answer: it must not depend on one of them staying.
		n.ask(context.WithoutCancel(ctx), host, f)
	}
	select {
	case <-f.done:
		return f.addresses, f.err
	case <-ctx.Done():
		return nil, stream.Refusal(proxy.KindUpstreamTimeout, "name-late", "the name was not resolved in time")
	}
}

// entry returns what is known about a host, and whether the caller must find it out.
func (n *Names) entry(host string) (f *found, mine bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if f = n.kept[host]; f != nil {
		select {
		case <-f.done:
			if now.Before(f.until) {
				return f, false
			}
		default:
			return f, false
		}
	}
	if len(n.kept) >= mostKept {
		clear(n.kept) // only declared names are asked for, so that this happens to nobody
	}
	f = &found{done: make(chan struct{})}
	n.kept[host] = f
	return f, true
}

// lookupTime bounds one question to the resolver.
const lookupTime = 5 * time.Second

func (n *Names) ask(ctx context.Context, host string, f *found) {
	defer close(f.done)
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	all, err := n.resolver.LookupNetIP(ctx, "ip", host+".") // the name as it stands, with no search list
	if err != nil {
		f.err = stream.Refusal(proxy.KindUpstream, "name-unknown", "the name has no address")
	} else {
		f.addresses, f.err = n.check(all)
	}
	keep := keepFound
	if f.err != nil {
		keep = keepFailed
	}
	f.until = time.Now().Add(keep)
}

// check leaves what may be reached.
func (n *Names) check(all []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range all {
		if n.reachable(a) && !slices.Contains(out, bare(a)) && len(out) < mostFound {
			out = append(out, bare(a))
		}
	}
	if len(out) == 0 {
		return nil, stream.Refusal(proxy.KindForbidden, "address-not-public", "the host's addresses do not belong to the public Internet")
	}
	return out, nil
}
