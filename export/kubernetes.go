package export

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// DefaultLabel is the label whose value names the service of a pod.
const DefaultLabel = "app.kubernetes.io/name"

const namespaceLabel = "kubernetes.io/metadata.name" // set by the API server on every namespace

// KubernetesOptions say what of a cluster the model does not. The zero value has usable defaults.
type KubernetesOptions struct {
	Namespace   string                       // of services whose workloads name none, of the edge and of control; default: the fleet's name
	Label       string                       // default DefaultLabel
	Select      map[string]map[string]string // labels of the pods of a service, of EdgeName or of ControlName, instead of Label
	CIDRs       map[string][]netip.Prefix    // where hosts outside the cluster are, by the name in the model
	SidecarPort int                          // default DefaultSidecarPort
}

// place is where pods of a party run.
type place struct {
	namespace string
	labels    map[string]string
}

// party is whoever takes part in traffic: a service, the edge or control.
type party struct {
	name      string
	key       string
	places    []place
	addresses []netip.Prefix // instead of places: it runs outside the cluster
	ports     []int          // on which it is asked
	service   *model.ResolvedService
}

// kubernetes is one export.
type kubernetes struct {
	*fleet
	o       KubernetesOptions
	parties map[string]*party
	used    map[string]bool // hosts of CIDRs that something names
}

// Kubernetes writes NetworkPolicies (networking.k8s.io/v1): nothing passes in the namespaces of the fleet but the
// calls that the model declares, to the sidecars of the callee; names are resolved, and control is reached.
//
// Policies select pods, and a service shares its pod with its sidecar, so they cannot tell the two apart.
func Kubernetes(s *model.Snapshot, o KubernetesOptions) (*Result, error) {
	f, err := newFleet(s)
	if err != nil {
		return nil, err
	}
	k := &kubernetes{fleet: f, o: o, parties: map[string]*party{}, used: map[string]bool{}}
	k.defaults()
	k.gather()
	k.distinct()
	var body strings.Builder
	for _, namespace := range k.namespaces() {
		body.WriteString("---\n" + encode(k.policy("palisade-default-deny", namespace, fields{}, list{}, list{})))
	}
	for _, name := range slices.Sorted(maps.Keys(k.parties)) {
		p := k.parties[name]
		for _, at := range p.places {
			document := k.policy(policyName(name), at.namespace, selector(at.labels), k.ingress(p, at), k.egress(p, at))
			body.WriteString("---\n" + encode(document))
		}
	}
	k.unused()
	return k.result("kubernetes", []byte(body.String()))
}

func policyName(party string) string {
	if party == EdgeName || party == ControlName {
		return party
	}
	return "palisade-service-" + party
}

func (k *kubernetes) policy(name, namespace string, pods fields, ingress, egress list) fields {
	return fields{
		{"apiVersion", "networking.k8s.io/v1"},
		{"kind", "NetworkPolicy"},
		{"metadata", fields{
			{"name", name},
			{"namespace", namespace},
			{"labels", fields{{"app.kubernetes.io/managed-by", "palisade"}}},
		}},
		{"spec", fields{
			{"podSelector", pods},
			{"policyTypes", words("Ingress", "Egress")},
			{"ingress", ingress},
			{"egress", egress},
		}},
	}
}

// ingress is who may ask a party.
func (k *kubernetes) ingress(p *party, at place) list {
	out := list{}
	switch p.name {
	case EdgeName:
		return append(out, marked{comment: "the world", value: fields{{"ports", tcp(p.ports)}}})
	case ControlName:
		for _, name := range slices.Sorted(maps.Keys(k.parties)) {
			if name != ControlName {
				out = k.allow(out, "from", k.parties[name], at, p.ports)
			}
		}
		return out
	}
	if k.exposed[p.name] {
		out = k.allow(out, "from", k.parties[EdgeName], at, p.ports)
	}
	for _, caller := range callers(p.service) {
		out = k.allow(out, "from", k.parties[caller], at, p.ports)
	}
	return out
}

// egress is whom a party may ask.
func (k *kubernetes) egress(p *party, at place) list {
	if p.name == ControlName {
		k.gap("mesh.control", "what control itself asks is not limited, such as the API server and key services")
		return list{fields{}}
	}
	out := list{marked{comment: "names", value: fields{
		{"to", list{fields{
			{"namespaceSelector", selector(map[string]string{namespaceLabel: "kube-system"})},
			{"podSelector", selector(map[string]string{"k8s-app": "kube-dns"})},
		}}},
		{"ports", list{fields{{"protocol", "UDP"}, {"port", 53}}, fields{{"protocol", "TCP"}, {"port", 53}}}},
	}}}
	out = k.allow(out, "to", k.parties[ControlName], at, k.parties[ControlName].ports)
	for _, bus := range k.Mesh.Server.Bus.URLs {
		host, number := split(bus)
		out = k.inside(out, "mesh.control.bus.urls", host, number, "the bus")
	}
	if p.name == EdgeName {
		for _, s := range k.services {
			if k.exposed[s.Name] {
				out = k.allow(out, "to", k.parties[s.Name], at, k.parties[s.Name].ports)
			}
		}
		return k.collector(k.issuers(out))
	}
	for _, s := range k.callees(p.name) {
		out = k.allow(out, "to", k.parties[s.Name], at, k.parties[s.Name].ports)
	}
	if host, number := split(p.service.Address); !local(host) {
		out = k.inside(out, "services."+p.name+".address", host, number, "the service itself")
	}
	for _, e := range p.service.Egress {
		out = k.outside(out, "services."+p.name+".egress", e.Host, e.Port)
	}
	return k.collector(out)
}

// allow adds a rule for the traffic of pods at a place with a party.
func (k *kubernetes) allow(rules list, direction string, other *party, at place, numbers []int) list {
	if other == nil {
		return rules
	}
	peers := list{}
	for _, o := range other.places {
		peer := fields{}
		if o.namespace != at.namespace {
			peer = append(peer, field{"namespaceSelector", selector(map[string]string{namespaceLabel: o.namespace})})
		}
		peers = append(peers, append(peer, field{"podSelector", selector(o.labels)}))
	}
	for _, a := range other.addresses {
		peers = append(peers, fields{{"ipBlock", fields{{"cidr", a.String()}}}})
	}
	if len(peers) == 0 {
		return rules // no peers would mean everybody
	}
	return append(rules, marked{comment: other.title(), value: fields{{direction, peers}, {"ports", tcp(numbers)}}})
}

func (p *party) title() string {
	switch p.name {
	case EdgeName:
		return "the edge"
	case ControlName:
		return "control and its bus"
	}
	return "service " + p.name
}

func tcp(numbers []int) list {
	var out list
	for _, n := range numbers {
		out = append(out, fields{{"protocol", "TCP"}, {"port", n}})
	}
	return out
}

func selector(labels map[string]string) fields {
	var all fields
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, field{name, labels[name]})
	}
	return fields{{"matchLabels", all}}
}

// namespaces are those in which something of the fleet runs, sorted.
func (k *kubernetes) namespaces() []string {
	all := map[string]bool{}
	for _, p := range k.parties {
		for _, at := range p.places {
			all[at.namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// distinct makes sure that no policy is for the pods of two parties: their rules would add up.
func (k *kubernetes) distinct() {
	names := slices.Sorted(maps.Keys(k.parties))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := k.parties[name], k.parties[other]
			if k.overlap(a, b) || k.overlap(b, a) {
				k.fail(a.key, "policies for its pods would be for those of %s, too, or the other way round; give each labels of its own", b.title())
			}
		}
	}
}

// overlap tells whether the pods of b are also selected as those of a.
func (k *kubernetes) overlap(a, b *party) bool {
	for _, x := range a.places {
		for _, y := range b.places {
			if x.namespace != y.namespace {
				continue
			}
			all := true
			for name, value := range x.labels {
				all = all && y.labels[name] == value
			}
			if all {
				return true
			}
		}
	}
	return false
}

func (k *kubernetes) unused() {
	for _, host := range slices.Sorted(maps.Keys(k.o.CIDRs)) {
		if !k.used[host] {
			k.fail("--cidr "+host, "no pod reaches that host by the model; it has %s", orNone(slices.Sorted(maps.Keys(k.used))))
		}
	}
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
