package model

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// control fills in what control stands on. References and files that exist where control runs are not looked up:
// whoever plans a change has them not.
func (c *compiler) control() ResolvedControl {
	m := c.Fleet.Mesh.Control
	r := ResolvedControl{
		Listen: m.Listen, Admin: m.Admin, Store: m.Store, Bus: m.Bus, Administrators: m.Administrators, PublishLedger: m.PublishLedger,
		Join: or(m.Join, DefaultJoin), Grace: or(m.Grace, DefaultGrace),
	}
	address := or(m.Address, DefaultControl)
	host, port, _ := portOf(address)
	if r.Listen == "" {
		if r.Listen = address; !bindable(host) {
			r.Listen = ":" + port
		}
	}
	r.Store.FromFile = c.absolute("mesh.control.store.from_file", m.Store.FromFile)
	if len(m.Bus.URLs) == 0 {
		at, _, _ := portOf(r.Listen)
		r.Bus.Listen = or(m.Bus.Listen, net.JoinHostPort(at, DefaultBusPort))
		if _, port, _ := portOf(r.Bus.Listen); len(m.Bus.Advertise) == 0 && !everywhere(host) {
			r.Bus.Advertise = []string{"tls://" + net.JoinHostPort(host, port)}
		}
	} else if r.Bus.Replicas == 0 {
		if r.Bus.Replicas = 1; len(m.Bus.URLs) >= clusterReplicas {
			r.Bus.Replicas = clusterReplicas
		}
	}
	if m.Console != nil {
		r.Console = c.controlConsole(m.Console)
	}
	if k := m.Kubernetes; k != nil {
		r.Kubernetes = &TokenReview{
			URL: or(k.URL, DefaultAPIServer), Audience: or(k.Audience, c.Fleet.TrustDomain),
			CA: or(k.CA, serviceAccount+"ca.crt"), TokenFile: or(k.TokenFile, serviceAccount+"token"),
		}
	}
	if n := m.Certificates; n != nil {
		r.Certificates = &ResolvedCertificates{Roots: c.roots("mesh.control.certificates.roots", n.Roots), Names: sortedLists(n.Names)}
	}
	return r
}

// controlConsole fills in where the console listens.
func (c *compiler) controlConsole(m *ControlConsole) *ControlConsole {
	const key = "mesh.control.console"
	r := *m
	if u, err := url.Parse(m.URL); err == nil && r.Listen == "" {
		r.Listen = ":" + or(u.Port(), "443")
	}
	r.URL = strings.TrimSuffix(m.URL, "/")
	r.ClientSecret.FromFile = c.absolute(key+".client_secret.from_file", m.ClientSecret.FromFile)
	r.TLS.Certificates = slices.Clone(m.TLS.Certificates)
	for i := range r.TLS.Certificates {
		r.TLS.Certificates[i] = c.certificate(index(key+".tls.certificates", i), r.TLS.Certificates[i])
	}
	return &r
}

// serviceAccount is where Kubernetes puts the service account of a pod.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

const clusterReplicas = 3 // outlive the loss of one server
