package model

import (
	"crypto/tls"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// edge fills in the edge's defaults and looks at its certificates.
func (c *compiler) edge() Edge {
	e := c.Fleet.Edge
	e.Admin = or(e.Admin, DefaultAdmin)
	e.Timeouts = Timeouts{
		Header:   or(e.Timeouts.Header, DefaultHeaderTimeout),
		Body:     or(e.Timeouts.Body, DefaultBodyTimeout),
		Idle:     or(e.Timeouts.Idle, DefaultIdleTimeout),
		Write:    or(e.Timeouts.Write, DefaultWriteTimeout),
		Upstream: or(e.Timeouts.Upstream, DefaultUpstreamTimeout),
		Connect:  or(e.Timeouts.Connect, DefaultConnectTimeout),
		Tunnel:   or(e.Timeouts.Tunnel, DefaultTunnelTimeout),
		Drain:    or(e.Timeouts.Drain, DefaultDrainTimeout),
	}
	e.Sizes = Sizes{
		Header:  or(e.Sizes.Header, DefaultHeaderSize),
		Headers: or(e.Sizes.Headers, DefaultHeaders),
		Target:  or(e.Sizes.Target, DefaultTargetSize),
		Body:    or(e.Sizes.Body, DefaultBodySize),
	}
	e.Concurrency = Concurrency{
		Connections: or(e.Concurrency.Connections, DefaultConnections),
		PerAddress:  or(e.Concurrency.PerAddress, DefaultPerAddress),
		Requests:    or(e.Concurrency.Requests, DefaultRequests),
		PerService:  or(e.Concurrency.PerService, DefaultPerService),
	}
	e.Limits = resolveLimits(e.Limits, "")
	listeners := make(map[string]Listener, len(e.Listeners))
	for _, name := range sortedKeys(e.Listeners) {
		listeners[name] = c.listener(join("edge.listeners", name), e.Listeners[name])
	}
	e.Listeners = listeners
	if e.Dev && !c.options.Development {
		c.report(Warning, "dev-answers", "edge.dev", "answers tell everyone what only you should know", `remove it outside "palisade up"`)
	}
	return e
}

func (c *compiler) listener(key string, l Listener) Listener {
	l.TLS.MinVersion = or(l.TLS.MinVersion, DefaultMinVersion)
	l.TLS.Certificates = slices.Clone(l.TLS.Certificates)
	for i := range l.TLS.Certificates {
		l.TLS.Certificates[i] = c.certificate(index(key+".tls.certificates", i), l.TLS.Certificates[i])
	}
	switch {
	case l.TLS.Local || l.HSTS.Off:
		l.HSTS = HSTS{Off: true}
	default:
		l.HSTS.MaxAge = or(l.HSTS.MaxAge, DefaultHSTS)
	}
	return l
}

// certificate reads a pair as the edge will, so that a wrong one is found before it is needed.
func (c *compiler) certificate(key string, pair Certificate) Certificate {
	if c.options.Elsewhere && (!c.here(key+".cert", pair.Cert) || !c.here(key+".key", pair.Key)) {
		return Certificate{Cert: c.absolute(key+".cert", pair.Cert), Key: c.absolute(key+".key", pair.Key)}
	}
	cert, okCert := c.file(key+".cert", pair.Cert)
	private, okKey := c.file(key+".key", pair.Key)
	if !okCert || !okKey {
		return Certificate{Cert: c.absolute(key+".cert", pair.Cert), Key: c.absolute(key+".key", pair.Key)}
	}
	pair = Certificate{Cert: c.absolute(key+".cert", pair.Cert), Key: c.absolute(key+".key", pair.Key)}
	loaded, err := tls.X509KeyPair(cert, private)
	if err != nil {
		c.report(Error, "bad-certificate", key, "certificate and key do not make a pair: "+strings.TrimPrefix(err.Error(), "tls: "), "name a PEM chain and the PEM key that belongs to its first certificate")
		return pair
	}
	if leaf := loaded.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		c.report(Warning, "expired-certificate", key+".cert", "the certificate expired on "+leaf.NotAfter.UTC().Format(time.DateOnly), "renew it")
	}
	return pair
}

// loopback tells whether host:port can be reached from this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// resolveLimits fills in the defaults of limits declared in one place. The place (such as "orders.", with its dot,
// which no name contains) makes names that no other place makes: limits of one name count together.
func resolveLimits(limits []Limit, place string) []Limit {
	var out []Limit
	names := make(map[string]int)
	for _, l := range limits {
		l.Burst = or(l.Burst, l.Rate.Count)
		l.Cost = or(l.Cost, 1)
		l.IPv6 = or(l.IPv6, DefaultIPv6Prefix)
		l.Name = or(l.Name, place+l.Per)
		names[l.Name]++
		if n := names[l.Name]; n > 1 {
			l.Name += "-" + strconv.Itoa(n)
		}
		out = append(out, l)
	}
	return out
}
