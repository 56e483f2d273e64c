package export

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

func (k *kubernetes) defaults() {
	k.o.Namespace = cmp.Or(k.o.Namespace, k.Fleet)
	k.o.Label = cmp.Or(k.o.Label, DefaultLabel)
	k.o.SidecarPort = cmp.Or(k.o.SidecarPort, DefaultSidecarPort)
	if !isLabel(k.o.Namespace) {
		k.fail("--namespace", "%q is not the name of a namespace (RFC 1123 label)", k.o.Namespace)
	}
	if !isLabelKey(k.o.Label) {
		k.fail("--label", "%q is not the key of a label, such as %s", k.o.Label, DefaultLabel)
	}
	for _, name := range slices.Sorted(maps.Keys(k.o.Select)) {
		if name != EdgeName && name != ControlName && k.ServiceByName(name) == nil {
			k.fail("--select "+name, "no service has that name; expected a service, %s or %s", EdgeName, ControlName)
		}
		labels := k.o.Select[name]
		for _, label := range slices.Sorted(maps.Keys(labels)) {
			value := labels[label]
			if !isLabelKey(label) || !isLabelValue(value) {
				k.fail("--select "+name, "%q is not a label with its value", label+"="+value)
			}
		}
	}
	if k.o.SidecarPort < 1 || k.o.SidecarPort > 65535 {
		k.fail("--sidecar-port", "%d is not a port", k.o.SidecarPort)
	}
}

// gather finds out who runs where.
func (k *kubernetes) gather() {
	k.control()
	if len(k.Routes) > 0 {
		edge := &party{name: EdgeName, key: "edge", places: []place{{k.o.Namespace, k.labels(EdgeName)}}}
		for _, name := range slices.Sorted(maps.Keys(k.Edge.Listeners)) {
			l := k.Edge.Listeners[name]
			for _, address := range []string{l.Address, l.RedirectFrom} {
				if address == "" {
					continue
				}
				host, number := split(address)
				edge.ports = ports(append(edge.ports, number)...)
				if local(host) {
					k.gap("edge.listeners."+name, "%s is loopback, which nothing outside of the pod reaches; a listener in a cluster is \":%d\"", address, number)
				}
			}
		}
		k.parties[EdgeName] = edge
	}
	inside := 0
	for _, s := range k.services {
		if other := k.parties[s.Name]; other != nil {
			k.fail("services."+s.Name, "its name is that of %s; rename the service", other.title())
			continue
		}
		p := k.party(s)
		k.parties[s.Name] = p
		inside += len(p.places)
	}
	if inside == 0 {
		k.fail("services", "none of them runs in Kubernetes: all have workloads, and no workload is of kind kubernetes")
	}
}

// control is where the model says; a name or loopback is taken for pods of this cluster.
func (k *kubernetes) control() {
	host, number := split(k.Mesh.Control)
	numbers := []int{number}
	if b := k.Mesh.Server.Bus; len(b.URLs) == 0 {
		for _, bus := range b.Advertise {
			_, number := split(bus)
			numbers = append(numbers, number)
		}
	}
	p := &party{name: ControlName, key: "mesh.control", ports: ports(numbers...)}
	if a, err := netip.ParseAddr(host); err == nil && !local(host) && !everywhere(host) {
		p.addresses = []netip.Prefix{single(a)}
	} else {
		p.places = []place{{k.o.Namespace, k.labels(ControlName)}}
	}
	if local(host) {
		k.gap("mesh.control.address", "%s is loopback, which no other pod reaches; in a cluster it is the name of control's Service", k.Mesh.Control)
	}
	k.parties[ControlName] = p
}

// party is a service. Without workloads it runs in the namespace of the fleet; with workloads of other kinds only it
// runs outside of the cluster, where its sidecars are.
func (k *kubernetes) party(s *model.ResolvedService) *party {
	p := &party{name: s.Name, key: "services." + s.Name, service: s}
	for _, address := range s.Sidecars {
		_, number := split(address)
		p.ports = ports(append(p.ports, number)...)
	}
	if len(p.ports) == 0 {
		p.ports = []int{k.o.SidecarPort}
	}
	var namespaces []string
	for _, w := range s.Workloads {
		if w.Kubernetes != nil {
			namespaces = append(namespaces, cmp.Or(w.Kubernetes.Namespace, k.o.Namespace))
		}
	}
	if len(s.Workloads) == 0 {
		namespaces = []string{k.o.Namespace}
	}
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		p.places = append(p.places, place{namespace, k.labels(s.Name)})
	}
	if len(p.places) == 0 {
		k.abroad(p, s)
	}
	return p
}

// abroad finds the addresses of a service outside of the cluster.
func (k *kubernetes) abroad(p *party, s *model.ResolvedService) {
	var named []string
	for _, address := range s.Sidecars {
		host, _ := split(address)
		if a, err := netip.ParseAddr(host); err == nil {
			p.addresses = append(p.addresses, single(a))
			continue
		}
		k.used[host] = true
		if len(k.o.CIDRs[host]) == 0 {
			named = append(named, host)
		}
		p.addresses = append(p.addresses, k.o.CIDRs[host]...)
	}
	slices.SortFunc(p.addresses, netip.Prefix.Compare)
	p.addresses = slices.Compact(p.addresses)
	switch {
	case len(s.Sidecars) == 0:
		k.gap(p.key, "it runs outside of the cluster, at places that the model does not name (sidecar.addresses); no pod reaches it, and it reaches none")
	case len(named) > 0:
		k.gap(p.key, "it runs outside of the cluster at %s; policies know addresses alone, so nothing is opened until --cidr says which", strings.Join(named, ", "))
	}
}

func (k *kubernetes) labels(name string) map[string]string {
	if labels := k.o.Select[name]; len(labels) > 0 {
		return labels
	}
	return map[string]string{k.o.Label: name}
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// isLabel follows RFC 1123 as Kubernetes reads it.
func isLabel(s string) bool {
	return len(s) <= 63 && isLabelValue(s) && s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'Z' || r == '_' || r == '.' })
}

// isLabelValue tells whether a label can have a value.
func isLabelValue(s string) bool {
	letter := func(r byte) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	for i := range len(s) {
		if !letter(s[i]) && (i == 0 || i == len(s)-1 || !strings.ContainsRune("-_.", rune(s[i]))) {
			return false
		}
	}
	return len(s) <= 63
}

// isLabelKey tells whether a label can have a key: a name, or a DNS name, a slash and a name.
func isLabelKey(s string) bool {
	prefix, name, found := strings.Cut(s, "/")
	if !found {
		return s != "" && isLabelValue(s)
	}
	for part := range strings.SplitSeq(prefix, ".") {
		if !isLabel(part) {
			return false
		}
	}
	return len(prefix) <= 253 && name != "" && isLabelValue(name)
}
