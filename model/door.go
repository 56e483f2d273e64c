package model

import (
	"hash/fnv"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Door is a socket on loopback at which a service finds something around it, behind its own sidecar.
type Door struct {
	At      netip.AddrPort
	Name    string // of the service, or host outside, that it leads to; empty: of whatever service a request names
	Port    int    // that the service, or host, declares
	TCP     bool   // of a service that does not speak HTTP
	Outside bool   // the way out of the fleet
}

// The ranges of loopback at which services find others: 127.64.0.0/10, and hosts outside: 127.32.0.0/11. The first
// address of services stands for all that are not declared.
const (
	doorsAt, doorsSize     = 127<<24 | 64<<16, 1 << 22
	outsideAt, outsideSize = 127<<24 | 32<<16, 1 << 21
)

// Undeclared is the address at which a service finds those that it may not call, so that the attempt is answered and
// recorded.
func Undeclared() netip.Addr { return at(doorsAt, 1) }

func at(base, n uint32) netip.Addr {
	n += base
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// addresses gives each name an address of a range, by a hash of the name: whoever is added moves nobody, but one that
// has the same hash and stands later in order. Names are sorted.
func addresses(names []string, base, size uint32) map[string]netip.Addr {
	out, taken := make(map[string]netip.Addr, len(names)), make(map[uint32]bool, len(names))
	for _, name := range names {
		h := fnv.New32a()
		_, _ = h.Write([]byte(name)) // never fails
		n := h.Sum32() % size
		for n < 2 || n == size-1 || taken[n] { // the network, what is undeclared, the last
			n = (n + 1) % size
		}
		taken[n] = true
		out[name] = at(base, n)
	}
	return out
}

// meshAddresses says where callers find each service.
func meshAddresses(services []ResolvedService) {
	names := make([]string, len(services))
	for i := range services {
		names[i] = services[i].Name
	}
	all := addresses(names, doorsAt, doorsSize)
	for i := range services {
		services[i].Loopback = all[services[i].Name].String()
	}
}

// Doors returns the doors around a service: one for every other service of the snapshot, which in the service's slice
// are those that it may call, with port 80 beside the declared one for HTTP; those for what is undeclared; and one for
// each host outside that the service declares by name. They are sorted.
func (s *Snapshot) Doors(service string) []Door {
	var out []Door
	ports := []int{httpPort}
	for i := range s.Services {
		o := &s.Services[i]
		where, err := netip.ParseAddr(o.Loopback)
		if o.Name == service || err != nil {
			continue
		}
		port := o.Port()
		out = append(out, Door{At: netip.AddrPortFrom(where, uint16(port)), Name: o.Name, Port: port, TCP: o.TCP()})
		if o.TCP() {
			continue
		}
		ports = append(ports, port)
		if port != httpPort {
			out = append(out, Door{At: netip.AddrPortFrom(where, httpPort), Name: o.Name, Port: port})
		}
	}
	slices.Sort(ports)
	for _, port := range slices.Compact(ports) {
		out = append(out, Door{At: netip.AddrPortFrom(Undeclared(), uint16(port)), Port: port})
	}
	out = append(out, s.outside(service)...)
	slices.SortFunc(out, func(a, b Door) int { return a.At.Compare(b.At) })
	return out
}

// outside are the doors to hosts outside that a service declares by name; addresses have no name to lead elsewhere.
func (s *Snapshot) outside(service string) (out []Door) {
	own := s.ServiceByName(service)
	if own == nil {
		return nil
	}
	var hosts []string
	for _, e := range own.Egress { // sorted
		if _, err := netip.ParseAddr(e.Host); err != nil {
			hosts = append(hosts, e.Host)
		}
	}
	where := addresses(slices.Compact(hosts), outsideAt, outsideSize)
	for _, e := range own.Egress {
		if a, named := where[e.Host]; named {
			out = append(out, Door{At: netip.AddrPortFrom(a, uint16(e.Port)), Name: e.Host, Port: e.Port, Outside: true})
		}
	}
	return slices.CompactFunc(out, func(a, b Door) bool { return a.At == b.At })
}

// Hosts are the names by which a service finds what is behind its doors.
func Hosts(doors []Door) map[string]netip.Addr {
	out := map[string]netip.Addr{}
	for _, d := range doors {
		if d.Name == "" {
			continue
		}
		out[d.Name] = d.At.Addr()
		if !d.Outside {
			out[d.Name+MeshHost] = d.At.Addr()
		}
	}
	return out
}

const httpPort = 80

// TCP tells whether a service speaks something else than HTTP.
func (r *ResolvedService) TCP() bool { return tcp(r.Address) }

// Port is where a service listens: the declared one, or that of the scheme.
func (r *ResolvedService) Port() int {
	u, err := url.Parse(r.Address)
	if err != nil {
		return httpPort
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return int(n)
	}
	if u.Scheme == "https" {
		return 443
	}
	return httpPort
}

// HostPort is where a service listens, as host:port.
func (r *ResolvedService) HostPort() string {
	u, err := url.Parse(r.Address)
	if err != nil {
		return strings.TrimPrefix(r.Address, "tcp://")
	}
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(r.Port()))
}

// Seen is the address of a service with another host and port: that at which a caller finds it.
func (r *ResolvedService) Seen(hostPort string) string {
	u, err := url.Parse(r.Address)
	if err != nil {
		return r.Address
	}
	u.Host = hostPort
	return u.String()
}
