package model

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// mesh checks what holds for the whole mesh.
func (c *checker) mesh() {
	m := c.Fleet.Mesh
	if m == nil {
		return
	}
	c.lifetime("mesh.svid.lifetime", m.SVID.Lifetime, MinSVIDLifetime, MaxSVIDLifetime)
	c.lifetime("mesh.svid.jwt_lifetime", m.SVID.JWTLifetime, MinJWTLifetime, MaxJWTLifetime)
	c.authority("mesh.issuer", m.Issuer)
	if m.Keys != "" {
		c.keeper("mesh.keys", m.Keys)
	}
	c.control()
	for _, name := range sortedKeys(m.Federation) {
		c.federation(join("mesh.federation", name), name, m.Federation[name])
	}
	if m.Issuer.WorkloadAPI == "" {
		return
	}
	const hint = "remove it, or issuer.workload_api"
	if m.SVID != (SVID{}) {
		c.warn("no-effect", "mesh.svid", "an external issuer says how long identities live", hint)
	}
	if len(m.Federation) > 0 {
		c.warn("no-effect", "mesh.federation", "an external issuer hands out the bundles of other trust domains", hint)
	}
}

// lifetime refuses what lies outside of what protects: an identity must outlive its renewal and must end by itself.
func (c *checker) lifetime(key string, d, least, most Duration) {
	if d != 0 && (d < least || d > most) {
		c.fail("out-of-range", key, fmt.Sprintf("%s is out of range; expected %s to %s", brief(d.Std()), brief(least.Std()), brief(most.Std())), "leave it out for the default")
	}
}

// authority checks who signs identities.
func (c *checker) authority(key string, i Issuer) {
	if i.WorkloadAPI != "" && i.Upstream != nil {
		c.fail("issuer-both", key, "expected workload_api or upstream, found both", "an external issuer needs no upstream; remove one of them")
	}
	if i.WorkloadAPI != "" {
		// SPIFFE Workload Endpoint, section 4; over TCP the kernel could not tell who asks.
		path, ok := strings.CutPrefix(i.WorkloadAPI, "unix://")
		if !ok || !cleanPath(path) {
			c.fail("bad-url", key+".workload_api", fmt.Sprintf("%q is not the address of a Workload API", redactURL(i.WorkloadAPI)), "write unix:///run/spire/agent.sock")
		}
	}
	if i.Upstream == nil {
		return
	}
	at := key + ".upstream.key"
	if _, literal := c.places[at+".value"]; literal {
		c.fail("bad-reference", at, "expected a reference to the key, found text", "write {from_file: PATH} or {from_env: NAME}")
		return
	}
	if _, written := c.places[at]; written {
		c.value(at, "key", i.Upstream.Key)
	}
}

// keepers are the URL schemes of what can wrap signing keys.
func keepers() []string { return []string{"awskms", "azurekeyvault", "gcpkms", "hashivault", "pkcs11"} }

// keeper checks the URL of what wraps signing keys. A key or PIN within it is refused.
func (c *checker) keeper(key, text string) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch {
	case scheme == "base64key" || strings.Contains(text, "pin-value="):
		c.found = append(c.found, literalSecret(c.at(key), key, "a key or a PIN"))
	case !slices.Contains(keepers(), scheme):
		c.fail("bad-url", key, fmt.Sprintf("%q is not the URL of a keeper", redactURL(text)), "write hashivault://NAME, awskms://..., gcpkms://..., azurekeyvault://... or pkcs11:..., or leave it out for a sealed file")
	case scheme != "pkcs11" && (!strings.HasPrefix(rest, "//") || len(rest) < 3):
		c.fail("bad-url", key, fmt.Sprintf("%q names no key", redactURL(text)), "write "+scheme+"://NAME")
	}
}

// federation checks one other trust domain.
func (c *checker) federation(key, name string, f Federation) {
	if !isTrustDomain(name) {
		c.failKey("bad-trust-domain", key, fmt.Sprintf("%q is not a trust domain; expected lower-case letters, digits, dots, dashes and underscores", name), hintLower(name, isTrustDomain))
		return
	}
	if name == c.Fleet.TrustDomain {
		c.failKey("own-trust-domain", key, "this is the fleet's own trust domain", "name another one, or remove this")
		return
	}
	if f.URL != "" {
		c.https(key+".url", f.URL)
	}
	if f.Profile != "spiffe" {
		if f.EndpointID != "" {
			c.fail("no-effect", key+".endpoint_id", "profile web looks at a public certificate, not at a SPIFFE ID", "write profile: spiffe, or remove it")
		}
		return
	}
	if f.EndpointID == "" {
		c.failKey("missing-key", key, `key "endpoint_id" is missing; expected the SPIFFE ID of the endpoint`, "profile spiffe recognises the endpoint by it")
		return
	}
	domain, ok := trustDomainOf(f.EndpointID)
	if !ok {
		c.fail("bad-spiffe-id", key+".endpoint_id", fmt.Sprintf("%q is not a SPIFFE ID", f.EndpointID), "write spiffe://"+name+"/spire/server")
		return
	}
	other, known := c.Fleet.Mesh.Federation[domain]
	known = known && domain != name && (other.Profile != "spiffe" || other.Bundle != "")
	if f.Bundle == "" && !known && domain != c.Fleet.TrustDomain {
		c.failKey("missing-key", key, `key "bundle" is missing; expected a file with the first bundle of `+quote(domain), "nothing else could prove the endpoint's SVID at first contact")
	}
}

// trustDomainOf returns the trust domain of a SPIFFE ID with a path (SPIFFE ID, section 2).
func trustDomainOf(id string) (string, bool) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	domain, path, slash := strings.Cut(rest, "/")
	if !ok || !slash || !isTrustDomain(domain) || len(id) > 2048 {
		return "", false
	}
	for segment := range strings.SplitSeq(path, "/") {
		wrong := strings.ContainsFunc(segment, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
		})
		if segment == "" || segment == "." || segment == ".." || wrong {
			return "", false
		}
	}
	return domain, true
}

// meshKeys are the keys of a service that say nothing without a mesh.
func meshKeys() []string {
	return []string{"sidecar", "workloads", "serve", "egress", "publish", "subscribe", "broker", "broker_keys"}
}

// meshed checks what a service says about the mesh.
func (c *checker) meshed(key, name string, s Service) {
	if c.Fleet.Mesh == nil {
		for _, k := range meshKeys() {
			if _, written := c.places[key+"."+k]; written {
				c.failKey("needs-mesh", key+"."+k, quote(k)+" holds in a mesh alone, and this fleet has none", "add mesh: {} to the fleet, or remove it")
			}
		}
		return
	}
	for i, address := range s.Sidecar.Addresses {
		c.sidecar(index(key+".sidecar.addresses", i), s, address)
	}
	if len(s.Workloads) > 0 && c.Fleet.Mesh.Issuer.WorkloadAPI != "" {
		c.warn("no-effect", key+".workloads", "an external issuer says what is this service", "remove it, or mesh.issuer.workload_api")
	}
	for i, r := range s.Expose {
		if _, service := c.Fleet.Services[strings.TrimSuffix(r.Host, MeshHost)]; service || strings.HasSuffix(r.Host, MeshHost) {
			c.fail("mesh-host", index(key+".expose", i)+".host", quote(r.Host)+" is how services know each other", "write the name that clients of the edge use")
		}
	}
	for i, w := range s.Workloads {
		c.workload(index(key+".workloads", i), w)
	}
	c.serve(key, name, s)
	c.egress(key+".egress", s.Egress)
	c.broker(key, name, s)
	if tcp(s.Address) {
		c.bytesAlone(key, s)
	}
}

// bytesAlone checks a tcp service: who may connect can be said, what is asked cannot.
func (c *checker) bytesAlone(key string, s Service) {
	if len(s.Expose) > 0 {
		c.fail("tcp-exposed", key+".expose", "the edge speaks HTTP, and a tcp service does not", "remove expose; other services of the fleet reach it through callers")
	}
	if len(s.Serve) > 0 {
		c.fail("tcp-serve", key+".serve", "a tcp service has no paths and methods", "remove serve and name who may connect in callers")
	}
	if s.API != "" {
		c.warn("no-effect", key+".api", "a tcp service has no requests to validate", "remove it")
	}
	if len(s.Limits) > 0 {
		c.warn("no-effect", key+".limits", "a tcp service has no requests to count", "remove it")
	}
	if s.Run != nil && s.Run.Ready != "" {
		c.fail("tcp-ready", key+".run.ready", "a tcp service answers no HTTP request", "remove it; the service is ready when its port accepts")
	}
}

// tcp tells whether an address is that of a service whose protocol we do not read.
func tcp(address string) bool { return strings.HasPrefix(address, "tcp://") }

// sidecar checks where a sidecar of a service is found: others dial it, so it needs an address and a port.
func (c *checker) sidecar(key string, s Service, address string) {
	if address == "" {
		c.fail("missing-value", key, "expected host:port, found nothing", "")
		return
	}
	host, port, ok := portOf(address)
	if ok && soundAddress(address) && (everywhere(host) || port == "0") {
		c.fail("bad-address", key, quote(address)+" is nothing that another sidecar can call", "write the address and port that others reach, such as 10.0.0.5:9443")
		return
	}
	if u, err := url.Parse(s.Address); err == nil && u.Host == address {
		c.fail("address-loop", key, "this is the service itself; it would be reached past its sidecar", "write another port")
		return
	}
	c.address(key, address)
}

// The bounds of identities' lives. Shorter, and a pause of control is an outage; longer, and nothing ends by itself.
const (
	MinSVIDLifetime = Duration(time.Minute)
	MaxSVIDLifetime = Duration(24 * time.Hour)
	MinJWTLifetime  = Duration(30 * time.Second)
	MaxJWTLifetime  = Duration(time.Hour)
)
