package model

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func (c *checker) service(name string, s Service) {
	key := join("services", name)
	if !IsName(name) {
		c.failKey("bad-name", key, badName(name), "")
	}
	c.meaning(key, name)
	if s.Address != "" {
		c.upstreamAddress(key+".address", s.Address)
	}
	for i, class := range s.Data {
		c.known("data class", index(key+".data", i), class, sortedKeys(c.Fleet.DataClasses))
	}
	c.callers(key+".callers", name, s.Callers)
	if len(s.Expose) == 0 && len(c.Fleet.callersOf(name)) == 0 && !c.calling[name] {
		c.atKey(Warning, "unreachable-service", key, "nothing exposes this service, no service calls it, and it calls none", "add expose or callers, or remove it")
	}
	c.meshed(key, name, s)
	if s.Run != nil {
		c.run(key+".run", name, *s.Run)
	}
	c.limits(key+".limits", s.Limits)
	c.span(key+".upstream.timeout", s.Upstream.Timeout, longTimeout)
	if s.Upstream.CA != "" && s.Address != "" && !strings.HasPrefix(s.Address, "https://") {
		c.warn("no-effect", key+".upstream.ca", "the address is not https, so no certificate is checked", "write https:// in address, or remove ca")
	}
}

// meaning looks for names that mean something else already: hosts files and resolvers take some for this machine, and the
// record knows the gateway and control by theirs.
func (c *checker) meaning(key, name string) {
	const hint = "choose another name, such as what it does"
	switch {
	case slices.Contains([]string{"localhost", "localdomain", "loopback", "ip6-localhost", "ip6-loopback", "localhost4", "localhost6", "broadcasthost"}, name):
		c.failKey("reserved-name", key, quote(name)+" is a name of the machine itself, so that calls to this service would never leave their caller", hint)
	case name == "edge" || name == "control":
		c.atKey(Warning, "reserved-name", key, quote(name)+" is what records and messages call Palisade's own part of that name", hint)
	case name == EdgeContainer || name == ControlContainer:
		c.atKey(Warning, "reserved-name", key, quote(name)+" is the name of Palisade's own part in Kubernetes and Compose, and palisade export refuses it", hint)
	}
}

// callers checks those that are to call a service.
func (c *checker) callers(key, service string, all []string) {
	for i, caller := range all {
		c.caller(index(key, i), service, caller)
		if j := slices.Index(all, caller); j < i && caller != "" {
			c.found = append(c.found, Finding{
				Severity: Warning, Code: "duplicate-caller", Position: c.at(index(key, i)), Key: index(key, i),
				Text: quote(caller) + " is named twice", Hint: "keep one of them", Other: c.at(index(key, j)),
			})
		}
	}
}

// caller checks one that is to call a service.
func (c *checker) caller(key, service, caller string) {
	_, found := slices.BinarySearch(c.services, caller)
	switch {
	case caller == "edge" && !found:
		c.fail("unknown-service", key, "the edge is no service of the fleet, and calls what services expose", "remove it, and write what the edge may ask: "+join("services", service)+".expose: [{host: ..., path: ..., allow: [...]}]")
	case caller == service && found:
		c.warn("no-effect", key, "a service reaches itself where it listens, and not through a sidecar", "remove it")
	default:
		c.known("service", key, caller, c.services)
	}
}

// upstreamAddress checks scheme://host:port.
func (c *checker) upstreamAddress(key, text string) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"http", "https", "h2c", "tcp"}, u.Scheme) {
		hint := "write http://host:port, https://host:port, or h2c://host:port for gRPC"
		if c.Fleet.Mesh != nil {
			hint += ", or tcp://host:port for what is not HTTP"
		}
		if shape, _ := badAddress(text); shape == "" {
			hint = "did you mean " + quote("http://"+text) + "?"
		}
		c.fail("bad-address", key, fmt.Sprintf("%q is not the address of a service", redactURL(text)), hint)
		return
	}
	if u.Scheme == "tcp" && c.Fleet.Mesh == nil {
		c.fail("needs-mesh", key, "only a mesh carries what is not HTTP, and this fleet has none", "add mesh: {} to the fleet")
		return
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		c.fail("bad-address", key, fmt.Sprintf("%q has more than scheme, host and port", redactURL(text)), "write "+quote(u.Scheme+"://"+u.Host))
		return
	}
	if u.Port() == "" {
		hint := "write " + quote(text+":80") + " or the port it listens on"
		if tcp(text) {
			hint = "write the port it listens on"
		}
		c.fail("bad-address", key, fmt.Sprintf("%q has no port", text), hint)
		return
	}
	why, hint := badAddress(u.Host)
	if why == "" && (u.Hostname() == "" || u.Port() == "0") {
		why, hint = "expected a host, and a port above 0", "write where the service listens"
	}
	if why != "" {
		c.fail("bad-address", key, fmt.Sprintf("%q is not the address of a service: %s", text, why), hint)
		return
	}
	for _, name := range sortedKeys(c.Fleet.Edge.Listeners) {
		l := c.Fleet.Edge.Listeners[name]
		for _, taken := range []string{l.Address, l.RedirectFrom} {
			if taken == u.Host {
				c.collide("address-loop", key, join("edge.listeners", name), "this is the edge itself; requests would run in a circle", "write where the service listens")
			}
		}
	}
}

func (c *checker) run(key, name string, r Run) {
	c.command(key+".command", r.Command, `write [go, run, ./cmd/orders]`)
	c.command(key+".build", r.Build, `write [go, build, -o, orders, ./cmd/orders], or remove it`)
	if r.Ready != "" {
		if u, err := url.Parse(r.Ready); err != nil || !strings.HasPrefix(r.Ready, "/") || u.Host != "" {
			c.fail("bad-path", key+".ready", quote(r.Ready)+" is not a path", "write /healthz")
		}
	}
	for i, other := range r.After {
		c.known("service", index(key+".after", i), other, c.services)
		if o, ok := c.Fleet.Services[other]; ok && o.Run == nil && other != name {
			c.warn("no-effect", index(key+".after", i), "service "+quote(other)+" has no command, so nothing is waited for", "add run to it, or remove this")
		}
	}
	for _, variable := range sortedKeys(r.Env) {
		at := join(key+".env", variable)
		if !isVariable(variable) {
			c.failKey("bad-name", at, quote(variable)+" is not the name of an environment variable", "")
		}
		c.value(at, variable, r.Env[variable])
	}
}

// command checks a command and its arguments.
func (c *checker) command(key string, command []string, hint string) {
	if _, written := c.places[key]; written && len(command) == 0 && c.at(key).Line > 0 {
		c.fail("missing-value", key, "expected a command and its arguments, found nothing", hint)
	}
	if len(command) > 0 && command[0] == "" {
		c.fail("missing-value", index(key, 0), "expected a command, found nothing", "")
	}
	for i, argument := range command {
		flag, value, assigned := strings.Cut(argument, "=")
		if assigned && secretNamed(flag, value) {
			f := literalSecret(c.at(index(key, i)), index(key, i), "the value of "+quote(flag))
			f.Hint = "pass it in env: {NAME: {from_env: NAME}}; arguments are seen by every process of the machine"
			c.found = append(c.found, f)
		}
	}
}

// value checks that a value has one source, and that a literal is no secret.
func (c *checker) value(key, name string, v Value) {
	sources := 0
	for _, s := range []string{"value", "from_env", "from_file"} {
		if _, written := c.places[key+"."+s]; written {
			sources++
		}
	}
	switch {
	case sources > 1:
		c.fail("bad-reference", key, "expected one of value, from_env and from_file, found several", "keep one of them")
	case sources == 0:
		c.fail("bad-reference", key, "expected one of value, from_env and from_file, found none", "")
	}
	for _, s := range []struct{ name, value string }{{"from_env", v.FromEnv}, {"from_file", v.FromFile}} {
		if p, written := c.places[key+"."+s.name]; written && s.value == "" && p.Key != p.Value {
			c.fail("missing-value", key+"."+s.name, "expected text, found nothing", "")
		}
	}
	if v.FromEnv != "" && !isVariable(v.FromEnv) {
		c.fail("bad-name", key+".from_env", quote(v.FromEnv)+" is not the name of an environment variable", "")
	}
	if v.Value == "" || secretShape(v.Value) != "" { // the latter is already reported
		return
	}
	switch {
	case secretNamed(name, v.Value):
		c.found = append(c.found, literalSecret(c.at(key), key, "the value of "+quote(name)))
	case looksRandom(v.Value):
		c.found = append(c.found, literalSecret(c.at(key), key, "a key"))
	}
}
