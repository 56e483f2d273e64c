package export_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/model"
)

// decode reads policies as a cluster does, strictly, and checks what its API server checks.
func decode(t *testing.T, text []byte) []networking.NetworkPolicy {
	t.Helper()
	var out []networking.NetworkPolicy
	head, _, _ := bytes.Cut(text, []byte("---\n"))
	if rest := bytes.TrimSpace(head); !bytes.HasPrefix(rest, []byte("#")) {
		t.Errorf("the head is %q", head)
	}
	seen := map[string]bool{}
	for i, document := range bytes.Split(text, []byte("---\n")) {
		if i == 0 {
			continue
		}
		var p networking.NetworkPolicy
		if err := yaml.UnmarshalStrict(document, &p); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if at := p.Namespace + "/" + p.Name; seen[at] {
			t.Errorf("%s stands there twice", at)
		} else {
			seen[at] = true
		}
		valid(t, &p)
		out = append(out, p)
	}
	return out
}

func valid(t *testing.T, p *networking.NetworkPolicy) {
	t.Helper()
	if p.APIVersion != networking.SchemeGroupVersion.String() || p.Kind != "NetworkPolicy" || len(p.Spec.PolicyTypes) != 2 {
		t.Errorf("%s is a %s %s for %v", p.Name, p.APIVersion, p.Kind, p.Spec.PolicyTypes)
	}
	wrong := append(validation.IsDNS1123Subdomain(p.Name), validation.IsDNS1123Label(p.Namespace)...)
	check := func(s *meta.LabelSelector) {
		if s != nil {
			for _, err := range metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, field.NewPath("selector")) {
				wrong = append(wrong, err.Error())
			}
		}
	}
	for _, err := range metavalidation.ValidateLabels(p.Labels, field.NewPath("labels")) {
		wrong = append(wrong, err.Error())
	}
	check(&p.Spec.PodSelector)
	each := func(peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) {
		for _, peer := range peers {
			check(peer.PodSelector)
			check(peer.NamespaceSelector)
			if (peer.IPBlock != nil) == (peer.PodSelector != nil) {
				wrong = append(wrong, "a peer is both or neither")
			}
			if peer.IPBlock != nil {
				whole, err := netip.ParsePrefix(peer.IPBlock.CIDR)
				if err != nil || whole != whole.Masked() {
					wrong = append(wrong, "cidr "+peer.IPBlock.CIDR)
				}
				for _, e := range peer.IPBlock.Except {
					if x, err := netip.ParsePrefix(e); err != nil || x != x.Masked() || !whole.Contains(x.Addr()) || x.Bits() <= whole.Bits() {
						wrong = append(wrong, "except "+e)
					}
				}
			}
		}
		for _, port := range ports {
			wrong = append(wrong, validation.IsValidPortNum(port.Port.IntValue())...)
			if port.Port.Type != intstr.Int || port.Protocol == nil {
				wrong = append(wrong, "a port is no number")
			}
		}
	}
	for _, r := range p.Spec.Ingress {
		each(r.From, r.Ports)
	}
	for _, r := range p.Spec.Egress {
		each(r.To, r.Ports)
	}
	if len(wrong) > 0 {
		t.Errorf("%s/%s: %v", p.Namespace, p.Name, wrong)
	}
}

// end is one end of a connection: a pod, or an address.
type end struct {
	namespace string
	labels    labels.Set
	address   netip.Addr
}

// cluster decides as NetworkPolicy defines it: pods that a policy selects are closed but for the sum of all rules.
type cluster []networking.NetworkPolicy

func (c cluster) passes(from, to end, port int, protocol string) bool {
	return c.half(from, to, port, protocol, true) && c.half(to, from, port, protocol, false)
}

func (c cluster) half(subject, other end, port int, protocol string, egress bool) bool {
	if subject.namespace == "" {
		return true
	}
	selected := false
	for i := range c {
		p := &c[i]
		if p.Namespace != subject.namespace || !matches(&p.Spec.PodSelector, subject.labels) {
			continue
		}
		selected = true
		for _, r := range p.Spec.Egress {
			if egress && covers(p.Namespace, r.To, r.Ports, other, port, protocol) {
				return true
			}
		}
		for _, r := range p.Spec.Ingress {
			if !egress && covers(p.Namespace, r.From, r.Ports, other, port, protocol) {
				return true
			}
		}
	}
	return !selected
}

func matches(s *meta.LabelSelector, set labels.Set) bool {
	selector, err := meta.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(set)
}

func covers(namespace string, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort, other end, port int, protocol string) bool {
	if len(ports) > 0 && !slices.ContainsFunc(ports, func(p networking.NetworkPolicyPort) bool {
		return p.Port.IntValue() == port && string(*p.Protocol) == protocol
	}) {
		return false
	}
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networking.NetworkPolicyPeer) bool {
		switch {
		case p.IPBlock != nil:
			inside := other.namespace == "" && netip.MustParsePrefix(p.IPBlock.CIDR).Contains(other.address)
			return inside && !slices.ContainsFunc(p.IPBlock.Except, func(e string) bool { return netip.MustParsePrefix(e).Contains(other.address) })
		case other.namespace == "":
			return false
		case p.NamespaceSelector == nil:
			return other.namespace == namespace && matches(p.PodSelector, other.labels)
		}
		return matches(p.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": other.namespace}) && matches(p.PodSelector, other.labels)
	})
}

func policies(t *testing.T, s *model.Snapshot, o export.KubernetesOptions) cluster {
	t.Helper()
	r, err := export.Kubernetes(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, r.Text)
}

func pod(namespace, label, value string) end {
	return end{namespace: namespace, labels: labels.Set{label: value, "version": "1"}}
}

func at(address string) end { return end{address: netip.MustParseAddr(address)} }

// TestKubernetesPassesWhatIsDeclared asks the policies of a fleet in one namespace about every pair, and about what
// is no part of it.
func TestKubernetesPassesWhatIsDeclared(t *testing.T) {
	for _, g := range goldens(t) {
		if g.name != "shop" {
			continue
		}
		s := compile(t, g.file("palisade.yaml"))
		c := policies(t, s, export.KubernetesOptions{})
		in := func(name string) end { return pod("shop", export.DefaultLabel, name) }
		names := []string{export.EdgeName, export.ControlName, "stranger"}
		want := map[string]bool{}
		for _, svc := range s.Services {
			names = append(names, svc.Name)
			for _, caller := range svc.Callers {
				want[caller+" "+svc.Name] = true
			}
		}
		for _, r := range s.Routes {
			want[export.EdgeName+" "+r.Service] = true
		}
		for _, a := range names {
			for _, b := range names {
				if got := c.passes(in(a), in(b), 9443, "TCP"); a != b && a != export.ControlName && got != want[a+" "+b] {
					t.Errorf("%s to the sidecar of %s passes: %t", a, b, got)
				}
				for _, port := range []int{9101, 9102, 9103, 9104, 80, 53} {
					if a != export.ControlName && c.passes(in(a), in(b), port, "TCP") {
						t.Errorf("%s to port %d of %s passes", a, port, b)
					}
				}
				if c.passes(in(a), in(b), 9443, "UDP") && a != export.ControlName {
					t.Errorf("%s to %s passes over UDP", a, b)
				}
			}
			inside := a != "stranger"
			for _, port := range []int{9950, 4222} {
				if c.passes(in(a), in(export.ControlName), port, "TCP") != inside && a != export.ControlName {
					t.Errorf("%s to control at %d passes: %t", a, port, !inside)
				}
			}
			if c.passes(in(a), pod("kube-system", "k8s-app", "kube-dns"), 53, "UDP") != inside {
				t.Errorf("%s resolves names: %t", a, !inside)
			}
			if (a == "stranger" || want[export.EdgeName+" "+a] || a == "payments") && c.passes(in(a), at("9.9.9.9"), 443, "TCP") {
				t.Errorf("%s reaches the Internet", a)
			}
			if c.passes(at("9.9.9.9"), in(a), 8443, "TCP") != (a == export.EdgeName) || c.passes(at("9.9.9.9"), in(a), 9443, "TCP") {
				t.Errorf("the world reaches %s", a)
			}
			if c.passes(pod("other", export.DefaultLabel, "web"), in(a), 9443, "TCP") {
				t.Errorf("another namespace reaches %s", a)
			}
		}
		if !c.passes(in(export.EdgeName), at("9.9.9.9"), 443, "TCP") || c.passes(in(export.EdgeName), at("169.254.169.254"), 443, "TCP") || c.passes(in(export.EdgeName), at("fd00::1"), 443, "TCP") {
			t.Error("the edge reaches its issuer on the public Internet alone")
		}
	}
}

// TestKubernetesPlaces asks about namespaces, services outside of the cluster and hosts outside of the fleet.
func TestKubernetesPlaces(t *testing.T) {
	for _, g := range goldens(t) {
		if g.name != "places" {
			continue
		}
		c := policies(t, compile(t, g.file("palisade.yaml")), g.options(t).Kubernetes)
		edge := end{namespace: "shop", labels: labels.Set{"app": "gateway", "tier": "edge"}}
		orders, on, bus := pod("back", "app", "orders"), pod("front", "app", "on"), pod("back", "app", "bus")
		for _, x := range []struct {
			from, to end
			port     int
			want     bool
		}{
			{edge, on, 9443, true},
			{edge, on, 7001, false},
			{edge, orders, 9444, false},
			{pod("shop", "app", "gateway"), on, 9443, false}, // half of the edge's labels
			{on, orders, 9444, true},
			{on, orders, 7003, false},
			{pod("front", "app", "orders"), bus, 9445, false}, // the right label in the wrong namespace
			{orders, on, 9443, false},
			{orders, bus, 9445, true},
			{on, bus, 9445, false},
			{orders, at("10.0.0.7"), 9443, true}, // the database outside
			{on, at("10.0.0.7"), 9443, false},
			{orders, at("10.0.0.8"), 9443, false},
			{orders, at("198.50.0.9"), 443, true},
			{orders, at("9.9.9.9"), 443, false},
			{orders, at("9.9.9.9"), 853, true},
			{orders, at("9.9.9.10"), 25, true}, // a name without ranges
			{orders, at("10.1.1.1"), 25, false},
			{orders, at("169.254.169.254"), 25, false},
			{orders, at("2001:db8::1"), 25, false},
			{orders, at("2a00::1"), 25, true},
			{on, at("9.9.9.10"), 25, false},
			{on, at("10.0.0.1"), 9950, true},
			{on, at("10.0.0.1"), 4333, true},
			{on, at("10.0.0.1"), 22, false},
			{pod("shop", "app", "legacy"), on, 9443, false},
			{orders, pod("shop", "app", "legacy"), 9440, true},
		} {
			if got := c.passes(x.from, x.to, x.port, "TCP"); got != x.want {
				t.Errorf("%v to %v at %d passes: %t", x.from, x.to, x.port, got)
			}
		}
	}
}

// TestKubernetesIsRead reads whatever can be exported, with names that YAML takes for something else.
func TestKubernetesIsRead(t *testing.T) {
	for _, g := range goldens(t) {
		s, o := compile(t, g.file("palisade.yaml")), g.options(t)
		if r, err := export.Kubernetes(s, o.Kubernetes); err == nil {
			if len(decode(t, r.Text)) < 3 {
				t.Errorf("%s: nothing is there", g.name)
			}
		}
	}
	var b strings.Builder
	b.WriteString("version: 1\nfleet: \"no\"\ntrust_domain: t.example\nedge: {listeners: {main: {address: \":443\", tls: {local: true}}}}\nmesh: {}\nservices:\n")
	for i, name := range []string{"on", "off", "yes", "no", "y", "n", "null", "true", "false", "e1", "inf", "nan", "x-0"} {
		fmt.Fprintf(&b, "  %q: {address: \"http://127.0.0.1:%d\", callers: [\"on\"], expose: [{host: a.example, path: /%d, allow: [{anyone: true}]}]}\n", name, 8000+i, i)
	}
	s := compile(t, b.String())
	c := policies(t, s, export.KubernetesOptions{})
	if len(c) != len(s.Services)+3 || !c.passes(pod("no", export.DefaultLabel, "on"), pod("no", export.DefaultLabel, "null"), 9443, "TCP") {
		t.Errorf("%d policies for %d services", len(c), len(s.Services))
	}
	r, err := export.Compose(s, export.ComposeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := project(t, s, r.Text); p.Services["y"].NetworkMode != "service:y-sidecar" {
		t.Errorf("y is %+v", p.Services["y"])
	}
}

// TestNoMesh says what is missing.
func TestNoMesh(t *testing.T) {
	s := compile(t, "version: 1\nfleet: shop\ntrust_domain: t.example\nedge: {listeners: {main: {address: \":443\", tls: {local: true}}}}\nservices: {a: {address: \"http://127.0.0.1:1\", expose: [{host: a.example, path: /, allow: [{anyone: true}]}]}}\n")
	for _, kind := range []string{"kubernetes", "compose", "nftables"} {
		if got := write(t, kind, s, options{}); !strings.Contains(got, "add mesh: {} to the model") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}
