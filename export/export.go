// Package export writes the segmentation that a model declares in the languages of platforms that enforce it
// themselves: Kubernetes NetworkPolicies, a Compose overlay, an nftables ruleset. Each is a pure function of a
// snapshot: the same snapshot gives the same bytes. It is a second wall behind the sidecars and never in their place:
// none of these languages knows paths, methods, users or identities. Package export applies nothing.
package export

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// Result is an exported text and what the model says that the text cannot.
type Result struct {
	Text []byte
	Gaps []Gap // sorted by key; they stand at the head of Text, too
}

// Gap is something declared that an output does not hold, or that will not work there.
type Gap struct {
	Key   string `json:"key"`   // what it is about: services.orders.egress
	Words string `json:"words"` // one sentence without its full stop
}

// DefaultSidecarPort is where the sidecars of a service take calls unless the model says where.
const DefaultSidecarPort = 9443

// DefaultImage is the container image of this program.
const DefaultImage = "palisade"

// The names of what is no service but takes part; they stand in labels and containers.
const (
	EdgeName    = model.EdgeContainer
	ControlName = model.ControlContainer
)

// fleet is a snapshot as all outputs look at it, and what has been found wrong with it on the way.
type fleet struct {
	*model.Snapshot
	services []*model.ResolvedService // sorted by name
	exposed  map[string]bool          // services that the edge asks
	gaps     []Gap
	wrong    []error
}

func newFleet(s *model.Snapshot) (*fleet, error) {
	if s.Mesh == nil {
		return nil, errors.New("the fleet has no mesh, so its services have no sidecars to be reached through; add mesh: {} to the model")
	}
	f := &fleet{Snapshot: s, exposed: map[string]bool{}}
	for i := range s.Services {
		f.services = append(f.services, &s.Services[i])
	}
	slices.SortFunc(f.services, func(a, b *model.ResolvedService) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range s.Routes {
		f.exposed[r.Service] = true
	}
	return f, nil
}

func (f *fleet) gap(key, format string, values ...any) {
	f.gaps = append(f.gaps, Gap{key, fmt.Sprintf(format, values...)})
}

func (f *fleet) fail(key, format string, values ...any) {
	f.wrong = append(f.wrong, fmt.Errorf(key+": "+format, values...))
}

// result joins the head of an output, with its gaps as comments, and its body.
func (f *fleet) result(kind string, body []byte) (*Result, error) {
	if len(f.wrong) > 0 {
		return nil, errors.Join(f.wrong...)
	}
	slices.SortStableFunc(f.gaps, func(a, b Gap) int { return strings.Compare(a.Key, b.Key) })
	f.gaps = slices.Compact(f.gaps)
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by \"palisade export %s\" of fleet %s, snapshot %.12s. Change the model, not this file.\n", kind, f.Fleet, f.Version)
	if len(f.gaps) > 0 {
		b.WriteString("#\n# What this file does not hold:\n")
	}
	for _, g := range f.gaps {
		b.WriteString("# - " + oneLine(g.Key+": "+g.Words) + "\n")
	}
	return &Result{Text: append([]byte(b.String()), body...), Gaps: f.gaps}, nil
}

// callees returns the services that one may call, other than itself, sorted by name.
func (f *fleet) callees(name string) []*model.ResolvedService {
	var out []*model.ResolvedService
	for _, s := range f.services {
		if s.Name != name && slices.Contains(s.Callers, name) {
			out = append(out, s)
		}
	}
	return out
}

// callers returns the names of the services that may call one, other than itself, sorted.
func callers(s *model.ResolvedService) []string {
	out := slices.DeleteFunc(slices.Clone(s.Callers), func(c string) bool { return c == s.Name })
	slices.Sort(out)
	return slices.Compact(out)
}

// port is where a service listens itself.
func port(s *model.ResolvedService) int {
	_, p := split(s.Address)
	return p
}

// split returns the host and the port of a URL or of host:port; a checked model has both.
func split(address string) (host string, number int) {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
		if u.Port() == "" {
			return u.Hostname(), map[string]int{"http": 80}[u.Scheme] + map[string]int{"https": 443}[u.Scheme]
		}
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	number, _ = strconv.Atoi(text) // checked by model
	return host, number
}

// local tells whether a host is this machine, or this network namespace, whatever its name.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && a.Unmap().IsLoopback()
}

// everywhere tells whether listening on a host means all addresses.
func everywhere(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.Unmap().IsUnspecified()
}

// ports returns distinct numbers, sorted.
func ports(all ...int) []int {
	slices.Sort(all)
	return slices.Compact(all)
}
