package model

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// The bounds of what control gives and forgives.
const (
	minProof = Duration(time.Minute)
	maxJoin  = Duration(30 * 24 * time.Hour)
	maxGrace = Duration(90 * 24 * time.Hour)
)

// control checks what "palisade control" stands on.
func (c *checker) control() {
	const key = "mesh.control"
	m := c.Fleet.Mesh.Control
	if host, _, _ := portOf(m.Address); m.Listen == "" && bindable(host) {
		c.address(key+".address", m.Address)
	} else {
		c.reachable(key+".address", m.Address)
	}
	c.address(key+".listen", m.Listen)
	c.admin(key+".admin", m.Admin)
	if _, literal := c.places[key+".store.value"]; literal {
		c.fail("bad-reference", key+".store", "expected a reference to the URL of a PostgreSQL, found text", "write {from_file: PATH} or {from_env: NAME}; the URL may hold a password")
	} else if _, written := c.places[key+".store"]; written {
		c.value(key+".store", "store", m.Store)
	}
	c.controlBus(key+".bus", m.Bus)
	if m.Administrators != nil {
		c.administrators(key+".administrators", m.Administrators)
	}
	if m.Console != nil {
		c.controlConsole(key+".console", &m)
	}
	if k := m.Kubernetes; k != nil {
		if k.URL != "" {
			c.https(key+".kubernetes.url", k.URL)
		}
		c.absolutePath(key+".kubernetes.ca", k.CA)
		c.absolutePath(key+".kubernetes.token_file", k.TokenFile)
	}
	if m.Certificates != nil {
		c.nodeCertificates(key+".certificates", m.Certificates)
	}
	c.lifetime(key+".join", m.Join, minProof, maxJoin)
	c.lifetime(key+".grace", m.Grace, minProof, maxGrace)
}

// admin checks where metrics and health are served, to whoever asks.
func (c *checker) admin(key, address string) {
	if address == "" {
		return
	}
	c.address(key, address)
	if _, _, ok := portOf(address); ok && !loopback(address) {
		c.warn("exposed-admin", key, quote(address)+" lets other machines read metrics and health", "write 127.0.0.1:9900, or protect the port otherwise")
	}
}

// bindable tells whether a host is an address to listen on, and no name that may lead anywhere.
func bindable(host string) bool { return host == "" || host == "localhost" || net.ParseIP(host) != nil }

// reachable checks host:port under which others find something.
func (c *checker) reachable(key, address string) {
	if address == "" {
		return
	}
	if text, hint := badAddress(address); text != "" {
		c.fail("bad-address", key, text, hint)
		return
	}
	if host, port, _ := portOf(address); everywhere(host) || port == "0" {
		c.fail("bad-address", key, quote(address)+" is nothing that a proxy can call", "write a name or an address with its port, such as control.example:9950")
	}
}

func (c *checker) controlBus(key string, b ControlBus) {
	c.address(key+".listen", b.Listen)
	for _, list := range []struct {
		key  string
		urls []string
	}{{key + ".urls", b.URLs}, {key + ".advertise", b.Advertise}} {
		for i, text := range list.urls {
			address, tls := strings.CutPrefix(text, "tls://")
			if !tls {
				c.fail("bad-url", index(list.key, i), fmt.Sprintf("%q is not the URL of a NATS server with TLS", redactURL(text)), "write tls://host:port")
				continue
			}
			c.reachable(index(list.key, i), address)
		}
	}
	switch {
	case len(b.URLs) > 0 && b.Listen != "":
		c.fail("bus-both", key, "expected listen or urls, found both", "a cluster needs no server of control's own; remove one of them")
	case len(b.URLs) == 0 && b.Replicas > 1:
		c.fail("no-effect", key+".replicas", "control's own server is one, and keeps one", "remove it, or name a cluster in urls")
	case len(b.URLs) > 0 && b.Replicas > len(b.URLs):
		c.warn("insane-value", key+".replicas", fmt.Sprintf("%d replicas need as many servers, and urls names %d", b.Replicas, len(b.URLs)), "name all servers")
	}
}

func (c *checker) administrators(key string, a *Administrators) {
	providers := sortedKeys(c.Fleet.Providers)
	if _, written := c.places[key+".provider"]; written {
		c.known("provider", key+".provider", a.Provider, providers)
	}
	p := c.Fleet.Providers[a.Provider]
	if p.Development {
		c.fail("development-administrators", key+".provider", quote(a.Provider)+" is a development provider: whoever has the file of its keys would be an administrator", "name a provider with an issuer")
	}
	if _, written := c.places[key+".audience"]; written && len(a.Audience) == 0 {
		c.fail("missing-value", key+".audience", `expected what must be in "aud", found nothing`, "")
	}
	c.blanks(key+".audience", a.Audience)
	for i, name := range a.Audience {
		if slices.Contains(p.Audience, name) {
			c.fail("shared-audience", index(key+".audience", i), quote(name)+" is also the audience of tokens for the edge, and any service that gets one could administer with it", "let the provider make tokens for an audience of its own, such as palisade-control")
		}
	}
	roles, taken := sortedKeys(c.Fleet.Roles), map[string]string{}
	for _, list := range []struct {
		name  string
		roles []string
	}{{"viewer", a.Viewer}, {"operator", a.Operator}, {"admin", a.Admin}} {
		for i, role := range list.roles {
			at := index(key+"."+list.name, i)
			c.known("role", at, role, roles)
			if other, twice := taken[role]; twice && role != "" {
				c.collide("duplicate-role", at, other, quote(role)+" is named twice", "each role may do what those before it may; keep one")
				continue
			}
			taken[role] = at
		}
	}
	if len(taken) == 0 {
		c.failKey("missing-key", key, "no role is named, so nobody could do anything", "name roles of the fleet under viewer, operator or admin")
	}
}

func (c *checker) nodeCertificates(key string, n *NodeCertificates) {
	if _, written := c.places[key+".names"]; written && len(n.Names) == 0 {
		c.fail("missing-value", key+".names", "expected at least one name, found none", "write {host-1.example: [service/orders]}")
	}
	for _, name := range sortedKeys(n.Names) {
		at := join(key+".names", name)
		if !isDNSName(name) {
			c.failKey("bad-name", at, quote(name)+" is no DNS name that a certificate could hold", "")
		}
		for i, proxy := range n.Names[name] {
			service, isService := strings.CutPrefix(proxy, "service/")
			switch {
			case isService:
				c.known("service", index(at, i), service, c.services)
			case proxy != "edge/"+EdgeName:
				c.fail("bad-proxy", index(at, i), quote(proxy)+" is no proxy of the fleet", "write service/NAME or edge/"+EdgeName)
			}
		}
	}
}

// absolutePath checks a file that is found where control runs, and so is not looked for here.
func (c *checker) absolutePath(key, path string) {
	if path != "" && !cleanPath(path) {
		c.fail("bad-path", key, quote(path)+" is not an absolute path", "write it as it is where control runs")
	}
}
