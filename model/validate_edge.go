package model

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The longest times and largest sizes that still protect; more is a warning.
const (
	longTimeout = Duration(10 * time.Minute)
	longIdle    = Duration(time.Hour)
	longRoute   = Duration(time.Hour)
	longTunnel  = Duration(24 * time.Hour)
)

func (c *checker) edge() {
	e := c.Fleet.Edge
	if _, written := c.places["edge.listeners"]; written && len(e.Listeners) == 0 {
		c.fail("missing-value", "edge.listeners", "expected at least one listener, found none", "")
	}
	for _, name := range sortedKeys(e.Listeners) {
		c.listener(join("edge.listeners", name), name, e.Listeners[name])
	}
	c.admin("edge.admin", e.Admin)
	for i, p := range e.TrustedProxies {
		if p.IsValid() && p.Bits() == 0 {
			c.fail("trusts-everyone", index("edge.trusted_proxies", i), "every client could tell any address", "name only the addresses of your own proxies")
		}
	}
	t := e.Timeouts
	c.span("edge.timeouts.header", t.Header, Duration(time.Minute))
	c.span("edge.timeouts.body", t.Body, longTimeout)
	c.span("edge.timeouts.idle", t.Idle, longIdle)
	c.span("edge.timeouts.write", t.Write, longTimeout)
	c.span("edge.timeouts.upstream", t.Upstream, longTimeout)
	c.span("edge.timeouts.connect", t.Connect, Duration(time.Minute))
	c.span("edge.timeouts.tunnel", t.Tunnel, longTunnel)
	c.span("edge.timeouts.drain", t.Drain, longTimeout)
	c.size("edge.sizes.header", e.Sizes.Header, 1<<10, 1<<20)
	c.size("edge.sizes.target", e.Sizes.Target, 256, 1<<20)
	c.size("edge.sizes.body", e.Sizes.Body, 1<<10, 1<<30)
	if e.Sizes.Target != 0 && e.Sizes.Target > or(e.Sizes.Header, DefaultHeaderSize) {
		c.warn("no-effect", "edge.sizes.target", "a target larger than the whole head never arrives", "make edge.sizes.header larger too")
	}
	c.limits("edge.limits", e.Limits)
}

func (c *checker) listener(key, name string, l Listener) {
	if !IsName(name) {
		c.failKey("bad-name", key, badName(name), "")
	}
	c.address(key+".address", l.Address)
	if l.RedirectFrom != "" {
		c.address(key+".redirect_from", l.RedirectFrom)
	}
	_, written := c.places[key+".tls"]
	_, listed := c.places[key+".tls.certificates"]
	switch {
	case l.TLS.Local && listed:
		c.fail("tls-both", key+".tls", "expected either certificates or local: true, found both", "remove one of them")
	case written && !l.TLS.Local && len(l.TLS.Certificates) == 0:
		c.fail("tls-neither", key+".tls", "expected certificates or local: true, found neither", `write local: true on a laptop, else certificates: [{cert: PATH, key: PATH}]`)
	case l.TLS.Local && soundAddress(l.Address) && !loopback(l.Address):
		c.warn("local-certificate", key+".tls.local", "other machines do not know the local authority", "name certificates")
	}
	c.span(key+".hsts.max_age", l.HSTS.MaxAge, Duration(10*365*24*time.Hour))
	if l.HSTS.Preload && (!l.HSTS.IncludeSubdomains || or(l.HSTS.MaxAge, DefaultHSTS) < DefaultHSTS) {
		c.fail("bad-hsts", key+".hsts.preload", "preload lists take only include_subdomains: true with a max_age of a year or more", "add them, or remove preload")
	}
	if l.HSTS.Off && (l.HSTS.MaxAge != 0 || l.HSTS.IncludeSubdomains || l.HSTS.Preload) {
		c.warn("no-effect", key+".hsts", "off leaves the other keys without effect", "remove them")
	}
}

// address checks host:port of a listener and that no other takes the same.
func (c *checker) address(key, address string) {
	if address == "" {
		return
	}
	if text, hint := badAddress(address); text != "" {
		c.fail("bad-address", key, text, hint)
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return
	}
	for _, key2 := range sortedKeys(c.taken) {
		h, p, ok := portOf(c.taken[key2])
		if ok && p == port && (h == host || everywhere(h) || everywhere(host)) {
			c.collide("duplicate-address", key, key2, fmt.Sprintf("%q is already taken by %s (%q)", address, key2, c.taken[key2]), "choose another port")
			return
		}
	}
	c.taken[key] = address
}

// everywhere tells whether a listener on this host takes its port on all addresses.
func everywhere(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func soundAddress(address string) bool {
	text, _ := badAddress(address)
	return text == ""
}

// badAddress says what is wrong with host:port, or returns "".
func badAddress(address string) (text, hint string) {
	if strings.Contains(address, "://") {
		_, rest, _ := strings.Cut(address, "://")
		return fmt.Sprintf("%q is not host:port", address), "write it without a scheme: " + strings.TrimRight(rest, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		hint := "write 127.0.0.1:8443, [::1]:8443 or :8443"
		if net.ParseIP(address).To4() != nil || isDNSName(address) && strings.Trim(address, "0123456789") != "" {
			hint = "add the port: " + address + ":PORT"
		}
		return fmt.Sprintf("%q is not host:port", address), hint
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strconv.Itoa(n) != port {
		return fmt.Sprintf("%q is not a port; expected 1 to 65535", port), ""
	}
	if host != "" && net.ParseIP(host) == nil && !isDNSName(host) {
		return fmt.Sprintf("%q is neither a name nor an address", host), ""
	}
	return "", ""
}

// collector checks the URL of an OTLP collector.
func (c *checker) collector(key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		c.fail("bad-url", key, fmt.Sprintf("%q is not http(s)://host:port", redactURL(text)), "write http://127.0.0.1:4318")
		return
	}
	if u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), or(u.Port(), "80"))) {
		c.warn("plain-http", key, "traces leave this machine unencrypted", "write https://")
	}
}

// redactURL takes user and password out of a URL that is shown.
func redactURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = "..." + rest[i:]
	}
	return scheme + rest
}

// limits checks rates and that one request can pass at all.
func (c *checker) limits(key string, limits []Limit) {
	for i, l := range limits {
		at := index(key, i)
		if l.Rate.Count > 0 && l.Cost > or(l.Burst, l.Rate.Count) {
			c.fail("bad-limit", at, fmt.Sprintf("one request costs %d and the burst is %d, so none ever passes", l.Cost, or(l.Burst, l.Rate.Count)), "make cost smaller or burst larger")
		}
		if l.Rate.Window > 24*time.Hour {
			c.warn("insane-value", at+".rate", "a window longer than a day is forgotten at a restart", "use a shorter window")
		}
		if l.Rate.Window > 0 && l.Rate.Window < time.Millisecond {
			c.warn("insane-value", at+".rate", "a window shorter than 1ms limits nothing", "write the rate per second")
		}
		if l.IPv6 != 0 && l.Per != "" && l.Per != "address" {
			c.warn("no-effect", at+".ipv6", "only a limit per address looks at addresses", "remove it")
		}
		if strings.ContainsFunc(l.Name, func(r rune) bool { return r < ' ' || r > '~' }) || len(l.Name) > 64 {
			c.fail("bad-name", at+".name", "expected at most 64 printable ASCII characters", "it is sent in the RateLimit-Policy header")
		}
		for j := range i {
			if l.Per != "" && limits[j].Per == l.Per && limits[j].Name == l.Name && limits[j].Rate == l.Rate && l.Rate.Count > 0 {
				c.collide("duplicate-limit", at, index(key, j), "the same limit stands here twice", "remove one of them, or name them apart")
				break
			}
		}
	}
}
