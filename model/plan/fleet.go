package plan

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"

	"github.com/palisade-security/palisade/model"
)

func (d *differ) fleet() {
	d.at(model.Position{}, model.Position{})
	if d.before.Fleet != "" {
		d.text(Changes, "fleet", "the name of the fleet", d.before.Fleet, d.after.Fleet)
		d.text(MayWiden, "trust_domain", "the trust domain", d.before.TrustDomain, d.after.TrustDomain)
	}
	d.text(Changes, "", "the proxy of this slice", d.before.Self, d.after.Self)
	d.flag("providers", d.before.Development, d.after.Development, "development providers are honoured", "development providers are refused")
}

func (d *differ) edge() {
	was, is := d.before.Edge, d.after.Edge
	names := slices.Sorted(maps.Keys(was.Listeners))
	for name := range is.Listeners {
		if _, both := was.Listeners[name]; !both {
			d.add(Widens, join("edge.listeners", name), "the edge listens on "+is.Listeners[name].Address)
		}
	}
	for _, name := range names {
		key := join("edge.listeners", name)
		if l, both := is.Listeners[name]; both {
			d.listener(key, was.Listeners[name], l)
		} else {
			d.add(Narrows, key, "the edge no longer listens on "+was.Listeners[name].Address)
		}
	}
	d.text(Changes, "edge.admin", "the address of metrics and health", was.Admin, is.Admin)
	d.set("edge.trusted_proxies", "Forwarded headers are believed of", "Forwarded headers are no longer believed of", prefixes(was.TrustedProxies), prefixes(is.TrustedProxies))
	d.flag("edge.dev", was.Dev, is.Dev, "answers tell more than an attacker should know", "answers tell no more than anybody may know")
	if d.before.Fleet == "" {
		return // bounds of something new are no change
	}
	d.bounds("edge.timeouts", was.Timeouts, is.Timeouts)
	d.bounds("edge.sizes", was.Sizes, is.Sizes)
	d.bounds("edge.concurrency", was.Concurrency, is.Concurrency)
	d.limits("edge.limits", was.Limits, is.Limits)
}

func prefixes(all []model.Prefix) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

func (d *differ) listener(key string, was, is model.Listener) {
	d.text(MayWiden, key+".address", "the address of the listener", was.Address, is.Address)
	d.text(Changes, key+".redirect_from", "the address that redirects here", was.RedirectFrom, is.RedirectFrom)
	d.ranked(key+".tls.min_version", "the least version of TLS", was.TLS.MinVersion, is.TLS.MinVersion, "1.2", "1.3")
	if !slices.Equal(was.TLS.Certificates, is.TLS.Certificates) || was.TLS.Local != is.TLS.Local {
		d.add(Changes, key+".tls", "the listener shows other certificates")
	}
	if was.HSTS == is.HSTS {
		return
	}
	if is.HSTS.Off && !was.HSTS.Off || is.HSTS.MaxAge < was.HSTS.MaxAge || was.HSTS.IncludeSubdomains && !is.HSTS.IncludeSubdomains {
		d.add(Widens, key+".hsts", "browsers are held to HTTPS less")
	} else {
		d.add(Narrows, key+".hsts", "browsers are held to HTTPS more")
	}
}

// bounds compares two structs of numbers, each of which permits more the larger it is.
func (d *differ) bounds(key string, was, is any) {
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("json")
		name = name[:max(0, len(name)-len(",omitzero"))]
		show := func(n int64) string {
			switch a.Field(i).Interface().(type) {
			case model.Duration:
				return duration(n)
			case model.Size:
				return size(n)
			default:
				return strconv.FormatInt(n, 10)
			}
		}
		d.bound(key+"."+name, "the bound", a.Field(i).Int(), b.Field(i).Int(), show)
	}
}

func duration(n int64) string { b, _ := model.Duration(n).MarshalText(); return string(b) }

func size(n int64) string { b, _ := model.Size(n).MarshalText(); return string(b) }

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (d *differ) roles() {
	union(d.before.Roles, d.after.Roles, func(r *model.ResolvedRole) string { return r.Name }, func(name string, was, is *model.ResolvedRole) {
		key := join("roles", name)
		switch {
		case was == nil:
			d.add(Changes, key, "role "+name+" is new")
		case is == nil:
			d.add(Narrows, key, "role "+name+" is no longer known")
		}
		without := func(r *model.ResolvedRole) []string {
			return slices.DeleteFunc(slices.Clone(orZero(r).Includes), func(n string) bool { return n == name })
		}
		d.set(key+".includes", "role "+name+" may all that may", "role "+name+" no longer may all that may", without(was), without(is))
	})
}

func (d *differ) providers() {
	union(d.before.Providers, d.after.Providers, func(p *model.ResolvedProvider) string { return p.Name }, func(name string, was, is *model.ResolvedProvider) {
		key := join("providers", name)
		switch {
		case was == nil:
			d.add(Widens, key, "tokens of "+is.Issuer+" are accepted")
		case is == nil:
			d.add(Narrows, key, "tokens of "+was.Issuer+" are no longer accepted")
		default:
			d.provider(key, was, is)
		}
	})
}

func (d *differ) provider(key string, was, is *model.ResolvedProvider) {
	if was.Issuer != is.Issuer {
		d.add(Widens, key+".issuer", "tokens of "+is.Issuer+" are accepted")
		d.add(Narrows, key+".issuer", "tokens of "+was.Issuer+" are no longer accepted")
	}
	d.set(key+".audience", "tokens are accepted that are made for", "tokens are no longer accepted that are made for", was.Audience, is.Audience)
	d.set(key+".algorithms", "tokens are accepted that are signed with", "tokens are no longer accepted that are signed with", was.Algorithms, is.Algorithms)
	d.set(key+".types", "tokens are accepted of type", "tokens are no longer accepted of type", was.Types, is.Types)
	if was.JWKSURL != is.JWKSURL || was.JWKSFile != is.JWKSFile && len(was.JWKS)+len(is.JWKS) == 0 || !bytes.Equal(was.JWKS, is.JWKS) {
		d.add(MayWiden, key, "other keys may sign tokens")
	}
	d.text(MayWiden, key+".roles_claim", "the claim with the roles", was.RolesClaim, is.RolesClaim)
	d.setOf(Widens, Narrows, key+".role_map", "a claim gives a role:", "a claim no longer gives a role:", pairs(was.RoleMap), pairs(is.RoleMap))
	d.setOf(MayWiden, MayWiden, key+".claims", "policies see the claim", "policies no longer see the claim", pairs(was.Claims), pairs(is.Claims))
	d.bound(key+".skew", "the tolerated difference of clocks", int64(was.Skew), int64(is.Skew), duration)
	d.flag(key+".development", was.Development, is.Development, `tokens made by "palisade token" are accepted`, `tokens made by "palisade token" are refused`)
}

func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s = %s", k, m[k]))
	}
	return out
}

// policies reports every file that is another: what Cedar permits is not told apart here.
func (d *differ) policies() {
	name := fileNames(d.before.Policies, d.after.Policies)
	union(d.before.Policies, d.after.Policies, name, func(name string, was, is *model.PolicyFile) {
		d.at(fileOf(was), fileOf(is))
		base := filepath.Base(name)
		switch {
		case was == nil:
			d.add(MayWiden, "policies", "policies "+base+" are new and may widen or narrow")
		case is == nil:
			d.add(MayWiden, "policies", "policies "+base+" are gone, and with them what they permit or forbid")
		case was.Text != is.Text:
			d.add(MayWiden, "policies", "policies "+base+" have another text and may widen or narrow")
		}
	})
	d.at(model.Position{}, model.Position{})
}

// fileNames names policy files by the last part of their path, so that the same model in another folder is the same, or
// by all of it where that is not enough to tell them apart.
func fileNames(lists ...[]model.PolicyFile) func(*model.PolicyFile) string {
	for _, list := range lists {
		seen := map[string]bool{}
		for i := range list {
			base := filepath.Base(list[i].Name)
			if seen[base] {
				return func(p *model.PolicyFile) string { return p.Name }
			}
			seen[base] = true
		}
	}
	return func(p *model.PolicyFile) string { return filepath.Base(p.Name) }
}

func fileOf(p *model.PolicyFile) model.Position { return model.Position{File: orZero(p).Name} }

// records compares what is written down about requests.
func (d *differ) records() {
	was, is := d.before, d.after
	if was.Fleet == "" {
		return
	}
	d.ranked("audit.mode", "the recording", was.Audit.Mode, is.Audit.Mode, "best-effort", "strict")
	d.text(Changes, "audit.dir", "where records are kept", was.Audit.Dir, is.Audit.Dir)
	d.text(Changes, "audit.shapes", "what is recorded of undeclared headers and fields", was.Audit.Shapes, is.Audit.Shapes)
	d.flag("audit.pseudonyms", !was.Audit.Pseudonyms, !is.Audit.Pseudonyms, "events hold the names of users", "events hold pseudonyms in place of users' names")
	d.text(Changes, "audit.keep", "how much is kept of records", size(int64(was.Audit.Keep)), size(int64(is.Audit.Keep)))
	for _, class := range []struct {
		key, what string
		was, is   model.Duration
	}{
		{"requests", "requests", was.Audit.Retain.Requests, is.Audit.Retain.Requests},
		{"connections", "connections", was.Audit.Retain.Connections, is.Audit.Retain.Connections},
		{"acts", "acts", was.Audit.Retain.Acts, is.Audit.Retain.Acts},
		{"logs", "logs of services", was.Audit.Retain.Logs, is.Audit.Retain.Logs},
		{"maps", "maps", was.Audit.Retain.Maps, is.Audit.Retain.Maps},
	} {
		d.text(Changes, "audit.retain."+class.key, "how long "+class.what+" are kept", retained(class.was), retained(class.is))
	}
	if !reflect.DeepEqual(was.Audit.Bucket, is.Audit.Bucket) {
		d.add(Changes, "audit.bucket", "where events lie when their hour is over changes")
	}
	if !reflect.DeepEqual(was.Audit.Witnesses, is.Audit.Witnesses) {
		d.add(Changes, "audit.witnesses", "who is asked to sign what the ledger has come to changes")
	}
	d.setOf(Narrows, Widens, "audit.redact", "records no longer hold", "records hold", was.Redact, is.Redact)
	if slices.Equal(was.Redact, is.Redact) && !slices.Equal(was.Audit.Redact, is.Audit.Redact) {
		d.add(Changes, "audit.redact", "names move between audit and data classes")
	}
	d.text(Changes, "telemetry.otlp", "the collector of traces", was.Telemetry.OTLP, is.Telemetry.OTLP)
	if was.Telemetry.Sample != is.Telemetry.Sample {
		d.add(Changes, "telemetry.sample", fmt.Sprintf("the share of new traces changes from %g to %g", was.Telemetry.Sample, is.Telemetry.Sample))
	}
	if !maps.Equal(was.Telemetry.Headers, is.Telemetry.Headers) {
		d.add(Changes, "telemetry.headers", "other headers are sent to the collector")
	}
}

// retained is how long a class of events is kept; empty by default.
func retained(d model.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Std().String()
}
