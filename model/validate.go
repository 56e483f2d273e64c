package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// checker gathers what is wrong with a model.
type checker struct {
	*Declared
	found    []Finding
	taken    map[string]string // host:port by the key that takes it
	services []string          // names, sorted
	calling  map[string]bool   // services that call others, a broker or a host outside
}

func (c *checker) fail(code, key, text, hint string) {
	if c.wrong[key] {
		return
	}
	c.found = append(c.found, Finding{Severity: Error, Code: code, Position: c.at(key), Key: key, Text: text, Hint: hint})
}

func (c *checker) warn(code, key, text, hint string) {
	if c.wrong[key] {
		return
	}
	c.found = append(c.found, Finding{Severity: Warning, Code: code, Position: c.at(key), Key: key, Text: text, Hint: hint})
}

// atKey adds a finding about a name itself, not about what belongs to it.
func (c *checker) atKey(severity Severity, code, key, text, hint string) {
	c.found = append(c.found, Finding{Severity: severity, Code: code, Position: c.keyAt(key), Key: key, Text: text, Hint: hint})
}

func (c *checker) failKey(code, key, text, hint string) { c.atKey(Error, code, key, text, hint) }

// collide reports two places that cannot both stand.
func (c *checker) collide(code, key, other, text, hint string) {
	c.found = append(c.found, Finding{Severity: Error, Code: code, Position: c.at(key), Key: key, Text: text, Hint: hint, Other: c.at(other)})
}

// validate returns what is wrong with a decoded model by itself, without looking at anything outside of it.
// Values that the decoder has refused are zero here and are not reported twice.
func validate(d *Declared) []Finding {
	c := &checker{Declared: d, taken: map[string]string{}, services: sortedKeys(d.Fleet.Services), calling: d.Fleet.calling()}
	c.fleet()
	c.edge()
	c.providers()
	c.roles()
	c.classes()
	c.mesh()
	for _, name := range c.services {
		c.service(name, d.Fleet.Services[name])
	}
	c.routes()
	c.ambiguous()
	c.startCircles()
	c.inspection("waf", d.Fleet.WAF)
	c.recording()
	c.intake()
	c.exports()
	return c.found
}

func (c *checker) fleet() {
	f := c.Fleet
	if f.Fleet != "" && !IsName(f.Fleet) {
		c.fail("bad-name", "fleet", badName(f.Fleet), "")
	}
	if f.TrustDomain != "" && !isTrustDomain(f.TrustDomain) {
		c.fail("bad-trust-domain", "trust_domain",
			fmt.Sprintf("%q is not a trust domain; expected lower-case letters, digits, dots, dashes and underscores", f.TrustDomain),
			hintLower(strings.Trim(strings.TrimPrefix(f.TrustDomain, "spiffe:"), "/"), isTrustDomain))
	}
	if _, written := c.places["services"]; written && len(f.Services) == 0 {
		c.fail("missing-value", "services", "expected at least one service, found none", "")
	}
	for i, p := range f.Policies {
		if p == "" {
			c.fail("missing-value", index("policies", i), "expected a path, found nothing", "")
		}
	}
}

func (c *checker) roles() {
	names := sortedKeys(c.Fleet.Roles)
	for _, name := range names {
		key := join("roles", name)
		if !isRoleName(name) {
			c.failKey("bad-name", key, fmt.Sprintf("%q is not a role name; expected letters, digits and _ . : -, beginning with a letter, at most 63", name), "")
		}
		for i, other := range c.Fleet.Roles[name].Includes {
			c.known("role", index(key+".includes", i), other, names)
		}
		if circle := findCircle(name, func(n string) []string { return c.Fleet.Roles[n].Includes }); circle != nil && name == slices.Min(circle) {
			c.fail("role-circle", key+".includes", "roles include each other in a circle: "+strings.Join(append(circle, name), " > "), "remove one of the includes")
		}
	}
}

func (c *checker) classes() {
	for _, name := range sortedKeys(c.Fleet.DataClasses) {
		key := join("data_classes", name)
		if !IsName(name) {
			c.failKey("bad-name", key, badName(name), "")
		}
		c.blanks(key+".redact", c.Fleet.DataClasses[name].Redact)
		c.retain(key+".retain", c.Fleet.DataClasses[name].Retain)
	}
}

// known reports a name that is not among names, which are sorted.
func (c *checker) known(kind, key, name string, names []string) {
	if name == "" {
		c.fail("missing-value", key, "expected the name of a "+kind+", found nothing", "")
		return
	}
	if _, ok := slices.BinarySearch(names, name); ok {
		return
	}
	hint := didYouMean(name, names)
	if hint == "" && len(names) == 0 {
		hint = "no " + kind + " is declared"
	}
	c.fail("unknown-"+strings.ReplaceAll(kind, " ", "-"), key, fmt.Sprintf("no %s is named %q", kind, name), hint)
}

func (c *checker) blanks(key string, list []string) {
	for i, s := range list {
		if strings.TrimSpace(s) == "" {
			c.fail("missing-value", index(key, i), "expected text, found nothing", "")
		}
	}
}

// startCircles reports services that wait for each other.
func (c *checker) startCircles() {
	after := func(n string) []string {
		if run := c.Fleet.Services[n].Run; run != nil {
			return run.After
		}
		return nil
	}
	for _, name := range c.services {
		if circle := findCircle(name, after); circle != nil && name == slices.Min(circle) {
			c.fail("start-circle", join("services", name)+".run.after", "services wait for each other in a circle: "+strings.Join(append(circle, name), " > "), "remove one of them")
		}
	}
}

// findCircle returns a shortest way along next from start back to start, start first, or nil.
func findCircle(start string, next func(string) []string) []string {
	from := map[string]string{}
	pending := []string{start}
	for len(pending) > 0 {
		at := pending[0]
		pending = pending[1:]
		for _, n := range next(at) {
			if n == start {
				circle := []string{at}
				for at != start {
					at = from[at]
					circle = append(circle, at)
				}
				slices.Reverse(circle)
				return circle
			}
			if _, seen := from[n]; !seen {
				from[n] = at
				pending = append(pending, n)
			}
		}
	}
	return nil
}

// retain checks how long events are kept; 0 is the default.
func (c *checker) retain(key string, d Duration) {
	if d != 0 && d.Std() < time.Hour {
		c.fail("out-of-range", key, "events are deleted by the hour", "write at least 1h, such as 720h for 30 days")
	}
}

func (c *checker) recording() {
	c.blanks("audit.redact", c.Fleet.Audit.Redact)
	if keep := c.Fleet.Audit.Keep; keep != 0 && keep < 1<<20 {
		c.fail("out-of-range", "audit.keep", "records need at least 1MiB", "")
	}
	for name, d := range map[string]Duration{"requests": c.Fleet.Audit.Retain.Requests, "connections": c.Fleet.Audit.Retain.Connections, "acts": c.Fleet.Audit.Retain.Acts, "logs": c.Fleet.Audit.Retain.Logs, "maps": c.Fleet.Audit.Retain.Maps} {
		c.retain("audit.retain."+name, d)
	}
	c.auditBucket()
	c.auditWitnesses()
	t := c.Fleet.Telemetry
	if t.OTLP != "" {
		c.collector("telemetry.otlp", t.OTLP)
	} else if t.Sample != 0 || len(t.Headers) > 0 {
		c.warn("no-effect", "telemetry", "without otlp nothing is sent", "name a collector: otlp: http://127.0.0.1:4318")
	}
	for _, name := range sortedKeys(t.Headers) {
		key := join("telemetry.headers", name)
		if !isToken(name) {
			c.failKey("bad-header", key, fmt.Sprintf("%q is not a header name", name), "")
		}
		c.value(key, name, t.Headers[name])
	}
}

// span warns of a time so long that it does not protect.
func (c *checker) span(key string, d, most Duration) {
	if d > most {
		c.warn("insane-value", key, fmt.Sprintf("%s is longer than %s and protects nothing", time.Duration(d), time.Duration(most)), "leave it out for the default")
	}
	if d != 0 && d < Duration(time.Millisecond) {
		c.warn("insane-value", key, fmt.Sprintf("%s is too short for any request", time.Duration(d)), "leave it out for the default")
	}
}

func (c *checker) size(key string, s, least, most Size) {
	text := func(s Size) string { b, _ := s.MarshalText(); return string(b) }
	if s > most {
		c.warn("insane-value", key, text(s)+" is more than "+text(most)+" and protects nothing", "leave it out for the default")
	}
	if s != 0 && s < least {
		c.warn("insane-value", key, text(s)+" is less than "+text(least)+" and too small for usual requests", "leave it out for the default")
	}
}
