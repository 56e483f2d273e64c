package export

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// NftablesOptions say what of a host the model does not.
type NftablesOptions struct {
	Hosts       []string            // what addresses in the model call this host; "localhost" is every loopback address
	SidecarUser string              // user or number that sidecars run as; default DefaultSidecarUser
	Outbound    map[string][]string // ports on loopback at which the sidecar of a service takes its calls: 15001 or 15000-15099; default: any port of loopback that is no service's
	LogGroup    int                 // NFLOG group that gets what is dropped; default DefaultLogGroup
}

// The defaults of NftablesOptions.
const (
	DefaultSidecarUser = "palisade"
	DefaultLogGroup    = 5
)

// nftables is one export.
type nftables struct {
	*fleet
	o     NftablesOptions
	here  []*model.ResolvedService
	users map[string][]*model.ResolvedService // who runs services here, to their services
	b     strings.Builder
}

// Nftables writes a ruleset for one host (nft(8), 1.0 and later) of one table, palisade, which it replaces as a whole.
// Ports of services are reached over loopback and by the user of the sidecars alone. What runs as the user of a
// service answers on its port, and asks its sidecar alone. Everything else of theirs is counted, logged to an NFLOG
// group with its headers, and dropped. Whatever else the host does is left as it is.
func Nftables(s *model.Snapshot, o NftablesOptions) (*Result, error) {
	f, err := newFleet(s)
	if err != nil {
		return nil, err
	}
	o.SidecarUser, o.LogGroup = cmp.Or(o.SidecarUser, DefaultSidecarUser), cmp.Or(o.LogGroup, DefaultLogGroup)
	n := &nftables{fleet: f, o: o, users: map[string][]*model.ResolvedService{}}
	n.check()
	n.find()
	n.tell()
	if len(n.wrong) == 0 {
		n.write()
	}
	return n.result("nftables", []byte(n.b.String()))
}

func (n *nftables) check() {
	if !isUser(n.o.SidecarUser) || isRoot(n.o.SidecarUser) {
		n.fail("--sidecar-user", "%q is not a user that sidecars can have to themselves", n.o.SidecarUser)
	}
	if n.o.LogGroup < 1 || n.o.LogGroup > 65535 {
		n.fail("--log-group", "%d is not an NFLOG group; expected 1 to 65535", n.o.LogGroup)
	}
	for _, name := range slices.Sorted(maps.Keys(n.o.Outbound)) {
		if n.ServiceByName(name) == nil {
			n.fail("--outbound "+name, "no service has that name")
		}
		for _, ports := range n.o.Outbound[name] {
			if !isPorts(ports) {
				n.fail("--outbound "+name, "%q is neither a port nor a range such as 15000-15099", ports)
			}
		}
	}
}

// find gathers the services of this host.
func (n *nftables) find() {
	known := map[string]bool{}
	wanted := map[string]bool{}
	for _, h := range n.o.Hosts {
		wanted[hostName(h)] = true
	}
	for _, s := range n.services {
		for _, at := range hosts(s) {
			known[at] = true
			if wanted[at] && !slices.Contains(n.here, s) {
				n.here = append(n.here, s)
			}
		}
	}
	all := orNone(slices.Sorted(maps.Keys(known)))
	if len(n.o.Hosts) == 0 {
		n.fail("--host", "which host? The addresses of the model name %s", all)
	}
	for _, h := range n.o.Hosts {
		if !known[hostName(h)] {
			n.fail("--host "+h, "no service is there; the addresses of the model name %s", all)
		}
	}
}

// hosts are where a service runs: at its address, or beside its sidecars where its address is loopback.
func hosts(s *model.ResolvedService) []string {
	host, _ := split(s.Address)
	if !local(host) || len(s.Sidecars) == 0 {
		return []string{hostName(host)}
	}
	var out []string
	for _, address := range s.Sidecars {
		host, _ := split(address)
		out = append(out, hostName(host))
	}
	return out
}

// hostName gives every host one spelling.
func hostName(host string) string {
	if local(host) {
		return "localhost"
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(host)
}

// tell finds out which users the services have, and says what rules cannot tell apart.
func (n *nftables) tell() {
	taken := map[int]string{}
	for _, s := range n.here {
		key := "services." + s.Name
		if other, ok := taken[port(s)]; ok {
			n.gap(key+".address", "it has the port of %s, and rules go by the port; what is dropped there counts for %s", other, other)
		} else {
			taken[port(s)] = s.Name
		}
		if host, _ := split(s.Address); !local(host) && len(s.Sidecars) > 0 && !n.among(s) {
			n.gap(key+".address", "its sidecars are on other hosts, and only those of this host reach it; move them here")
		}
		everyone := len(s.Workloads) == 0
		for _, w := range s.Workloads {
			switch {
			case w.Unix != nil && w.Unix.User != "":
				n.user(key+".workloads", w.Unix.User, s)
			case w.Unix != nil || w.Kubernetes == nil: // pods are no processes of this host
				everyone = true
			}
		}
		if everyone {
			n.gap(key+".workloads", "it may run as any user, so what it asks past its sidecar is not seen; name its user (unix.user)")
		} else if len(n.o.Outbound[s.Name]) == 0 {
			n.gap(key, "it reaches every port of loopback that is no service's, the sockets of other sidecars among them, until --outbound %s=… names its own", s.Name)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(n.users)) {
		if all := n.users[user]; len(all) > 1 {
			n.gap("services."+all[1].Name+".workloads", "it runs as %s, as %s does; each may ask what the other may", user, all[0].Name)
		}
	}
}

func (n *nftables) among(s *model.ResolvedService) bool {
	return slices.ContainsFunc(s.Sidecars, func(a string) bool {
		host, _ := split(a)
		return slices.ContainsFunc(n.o.Hosts, func(h string) bool { return hostName(h) == hostName(host) })
	})
}

func (n *nftables) user(key, user string, s *model.ResolvedService) {
	switch {
	case isRoot(user):
		n.fail(key, "it runs as root, and rules for root would cut the host off; give it a user of its own")
	case user == n.o.SidecarUser:
		n.fail(key, "it runs as %s, as the sidecars do, so rules cannot tell it from them; give it a user of its own", user)
	case !isUser(user):
		n.fail(key, "%q is not a user that nft can name; write its number", user)
	case !slices.Contains(n.users[user], s):
		n.users[user] = append(n.users[user], s)
	}
}

func isRoot(user string) bool { return user == "root" || user == "0" }

// isUser tells whether nft reads a name or number as a user.
func isUser(s string) bool {
	if v, err := strconv.ParseUint(s, 10, 32); err == nil {
		return strconv.FormatUint(v, 10) == s
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r != '-' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// isPorts reads a port or a range of them.
func isPorts(s string) bool {
	low, high, found := strings.Cut(s, "-")
	if !found {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	return err1 == nil && err2 == nil && a > 0 && a <= b && !strings.ContainsAny(s, "+_")
}

// write puts the ruleset together.
func (n *nftables) write() {
	n.line(0, "")
	n.line(0, "table inet palisade")
	n.line(0, "delete table inet palisade")
	n.line(0, "")
	n.line(0, "table inet palisade {")
	byPort := map[int]*model.ResolvedService{}
	var numbers []int
	for _, s := range n.here {
		if byPort[port(s)] == nil {
			byPort[port(s)] = s
			numbers = append(numbers, port(s))
		}
	}
	slices.Sort(numbers)
	users := slices.Sorted(maps.Keys(n.users))
	for _, number := range numbers {
		n.drop("to-"+byPort[number].Name, "to "+byPort[number].Name+" past its sidecar")
	}
	for _, user := range users {
		n.drop("by-"+user, "by "+user+" past the sidecar")
	}
	for _, user := range users {
		n.asks(user)
	}
	n.line(1, "chain input {")
	n.line(2, "type filter hook input priority filter; policy accept;")
	for _, number := range numbers {
		n.line(2, `iif != "lo" tcp dport %d goto to-%s`, number, byPort[number].Name)
	}
	n.line(1, "}")
	n.line(0, "")
	n.line(1, "chain output {")
	n.line(2, "type filter hook output priority filter; policy accept;")
	for _, number := range numbers {
		n.line(2, `oif "lo" tcp dport %d meta skuid != %s goto to-%s`, number, userOf(n.o.SidecarUser), byPort[number].Name)
	}
	for _, user := range users {
		n.line(2, "meta skuid %s goto from-%s", userOf(user), user)
	}
	n.line(1, "}")
	n.line(0, "}")
}

// drop writes the chain in which something ends.
func (n *nftables) drop(name, words string) {
	n.line(1, "counter %s {", name)
	n.line(1, "}")
	n.line(0, "")
	n.line(1, "chain %s {", name)
	n.line(2, "counter name %s", quote(name))
	n.line(2, `log prefix %s group %d snaplen 128`, quote("palisade: "+words+": "), n.o.LogGroup)
	n.line(2, "drop")
	n.line(1, "}")
	n.line(0, "")
}

// asks writes what a user may send: the answers of its services, and their calls to their sidecars.
func (n *nftables) asks(user string) {
	var own []int
	var outbound []string
	open := false
	for _, s := range n.users[user] {
		own = append(own, port(s))
		outbound = append(outbound, n.o.Outbound[s.Name]...)
		open = open || len(n.o.Outbound[s.Name]) == 0
	}
	n.line(1, "chain from-%s {", user)
	n.line(2, `oif "lo" ct direction reply tcp sport { %s } accept`, join(ports(own...)))
	if open {
		n.line(2, `oif "lo" ct direction original accept`)
	} else {
		slices.Sort(outbound)
		for _, at := range slices.Compact(outbound) { // one rule each: ranges in a set must not overlap
			n.line(2, `oif "lo" ct direction original tcp dport %s accept`, at)
		}
	}
	n.line(2, "goto by-%s", user)
	n.line(1, "}")
	n.line(0, "")
}

func (n *nftables) line(depth int, format string, values ...any) {
	line := strings.Repeat("\t", depth) + fmt.Sprintf(format, values...)
	n.b.WriteString(strings.TrimRight(line, "\t") + "\n")
}

// userOf writes a name in quotes and a number without.
func userOf(user string) string {
	if _, err := strconv.ParseUint(user, 10, 32); err == nil {
		return user
	}
	return quote(user)
}

func quote(s string) string { return `"` + s + `"` }

func join(numbers []int) string {
	out := make([]string, len(numbers))
	for i, number := range numbers {
		out[i] = strconv.Itoa(number)
	}
	return strings.Join(out, ", ")
}
