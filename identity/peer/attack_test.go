package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/revocation"
)

const (
	good = "spiffe://shop.example/service/catalog"

	// unparsed is the verdict on a certificate that the standard library does not even parse: no handshake gets
	// as far as us.
	unparsed Reason = "not a certificate"
)

// world is what the attacks are made with. We trust shop.example, and other.example by federation.
type world struct {
	*testing.T
	root, issuer             *ca // of shop.example
	otherRoot, otherIssuer   *ca // of other.example
	rogue                    *ca // of nobody
	revokedSerialAsPublished *x509.Certificate
}

// attack is one row: what the peer shows, our verdict ("" for accepted), and why.
type attack struct {
	name string
	want Reason
	why  string
	show func(world) []*x509.Certificate
}

// signed is an SVID from the issuer of shop.example.
func signed(id string, change func(*x509.Certificate)) func(world) []*x509.Certificate {
	return func(w world) []*x509.Certificate { chain, _ := w.issuer.leaf(id, change); return chain }
}

// named is an SVID whose names are exactly these.
func named(list ...name) func(world) []*x509.Certificate {
	return func(w world) []*x509.Certificate {
		chain, _ := w.issuer.leaf("", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{names(w, list...)} })
		return chain
	}
}

// below is an SVID from an intermediate that change spoils.
func below(id string, change func(*x509.Certificate)) func(world) []*x509.Certificate {
	return func(w world) []*x509.Certificate {
		chain, _ := authority(w, "shop.example", w.root, change).leaf(id, nil)
		return chain
	}
}

func attacks() []attack {
	return slices.Concat(attacksOnNames(), attacksOnIDs(), attacksOnLeaves(), attacksOnChains(), attacksOnRevocation())
}

func attacksOnNames() []attack {
	return []attack{
		{"an honest SVID", "", "one URI, one chain, one root", signed(good, nil)},
		{"DNS names beside the URI", "", "X509-SVID section 2 allows other names; they are not looked at", named(uri(good), name{2, "catalog.mesh.internal"})},
		{"no certificate", NoCertificate, "nobody is nobody", func(world) []*x509.Certificate { return nil }},
		{"no names", NotOneURI, "the identity is the URI; a subject is none", signed("", func(c *x509.Certificate) { c.Subject.CommonName = good })},
		{"DNS name alone", NotOneURI, "a host name is no identity", named(name{2, "catalog"})},
		{"two URIs, the good one first", NotOneURI, "exactly one: whoever reads the other would believe another identity", named(uri(good), uri("spiffe://shop.example/service/admin"))},
		{"two URIs, the good one last", NotOneURI, "as above", named(uri("https://catalog.example"), uri(good))},
		{"the same URI twice", NotOneURI, "two are two", named(uri(good), uri(good))},
		{"SPIFFE ID as DNS name", BadSAN, "software that reads DNS names would believe it", named(name{2, good})},
		{"SPIFFE ID as mail address", BadSAN, "as above", named(name{1, good})},
		{"a second SPIFFE ID as DNS name", BadSAN, "the URI is good, but the certificate carries two claims", named(uri(good), name{2, "spiffe://shop.example/service/admin"})},
		{"a second one in capitals", BadSAN, "as above, for readers that ignore case", named(uri(good), name{1, "SPIFFE://shop.example/service/admin"})},
		{"a web URI", BadID, "an identity is of scheme spiffe", named(uri("https://shop.example/service/catalog"))},
	}
}

func attacksOnIDs() []attack {
	var out []attack
	for _, c := range []struct{ name, id, why string }{
		{"scheme in capitals", "SPIFFE://shop.example/service/catalog", "one form alone: net/url would lower the scheme and hide the difference"},
		{"scheme without authority", "spiffe:shop.example/service/catalog", "no trust domain"},
		{"scheme with one slash", "spiffe:/shop.example/service/catalog", "no trust domain"},
		{"empty trust domain", "spiffe:///service/catalog", "no trust domain"},
		{"no path", "spiffe://shop.example", "that is the authority's own name, not a workload's"},
		{"root path", "spiffe://shop.example/", "an empty segment"},
		{"trailing slash", good + "/", "an empty segment: two programs would read two names"},
		{"doubled slash", "spiffe://shop.example/service//catalog", "an empty segment"},
		{"dot segment", "spiffe://shop.example/service/./catalog", "whoever resolves it reads another name"},
		{"dot dot segment", "spiffe://shop.example/service/web/../catalog", "whoever resolves it reads another name"},
		{"encoded dot segment", "spiffe://shop.example/service/%2e%2e/catalog", "percent encoding is not allowed in SPIFFE IDs"},
		{"encoded slash", "spiffe://shop.example/service%2Fcatalog", "as above"},
		{"encoded letter", "spiffe://shop.example/service/c%61talog", "as above: decoded it is another's name"},
		{"user info", "spiffe://admin@shop.example/service/catalog", "SPIFFE-ID section 2.1: no user info"},
		{"port", "spiffe://shop.example:443/service/catalog", "no port"},
		{"empty port", "spiffe://shop.example:/service/catalog", "no port; net/url would drop it"},
		{"query", good + "?admin=true", "no query"},
		{"empty query", good + "?", "no query"},
		{"fragment", good + "#admin", "no fragment"},
		{"empty fragment", good + "#", "no fragment; net/url would drop it"},
		{"space", "spiffe://shop.example/service/cata log", "not among the allowed characters"},
		{"trailing space", good + " ", "as above"},
		{"semicolon", "spiffe://shop.example/service/catalog;v=1", "a URI may hold it, a SPIFFE ID may not"},
		{"colon in the path", "spiffe://shop.example/service:catalog", "as above"},
		{"tilde", "spiffe://shop.example/~catalog", "as above"},
		{"asterisk", "spiffe://shop.example/service/*", "as above; somebody would read it as a pattern"},
		{"backslash", "spiffe://shop.example/service\\catalog", "not among the allowed characters"},
		{"upper case trust domain", "spiffe://Shop.Example/service/catalog", "trust domains are lower case; lowering it here would make two names one"},
		{"IP address in brackets", "spiffe://[::1]/service/catalog", "brackets are not among the allowed characters"},
		{"too long", "spiffe://shop.example/" + strings.Repeat("a", maxID), "more than 2,048 bytes"},
		{"trust domain too long", "spiffe://" + strings.Repeat("a", 256) + "/service/catalog", "more than 255 bytes"},
	} {
		out = append(out, attack{c.name, BadID, c.why, signed(c.id, nil)})
	}
	for _, c := range []struct{ name, id, why string }{
		{"NUL", "spiffe://shop.example/service/catalog\x00.evil", "as above; C programs would stop reading there"},
		{"line feed", good + "\nadmin", "as above"},
		{"tab", "spiffe://shop.example/service/cata\tlog", "control characters; they would break logs"},
		{"Cyrillic letter in the trust domain", "spiffe://sh\u043ep.example/service/catalog", "looks alike; a URI in a certificate is ASCII (IA5String)"},
		{"full-width letter in the path", "spiffe://shop.example/service/\uff43atalog", "as above"},
		{"combining mark", "spiffe://shop.example/service/catalo\u0067\u0301", "as above"},
		{"right-to-left override", "spiffe://shop.example/service/\u202egolatac", "as above"},
	} {
		out = append(out, attack{c.name, unparsed, c.why, signed(c.id, nil)})
	}
	return append(
		out,
		attack{"punycode of a look-alike", UnknownDomain, "well-formed, but another trust domain; we compare, we do not render", signed("spiffe://xn--shp-emd.example/service/catalog", nil)},
		attack{"wrong trust domain", UnknownDomain, "our own authority may not speak for a domain that we do not know", signed("spiffe://evil.example/service/catalog", nil)},
		attack{"subdomain", UnknownDomain, "trust domains have no hierarchy", signed("spiffe://a.shop.example/service/catalog", nil)},
		attack{"trailing dot", unparsed, "as DNS name it would be the same, as trust domain it is not", signed("spiffe://shop.example./service/catalog", nil)},
		attack{"upper case in the path", "", "paths may have capitals, and are compared exactly: it is another service", signed("spiffe://shop.example/service/Catalog", nil)},
	)
}

func attacksOnLeaves() []attack {
	return []attack{
		{"a CA as leaf", LeafIsCA, "X509-SVID section 4.1: a leaf has CA false", signed(good, func(c *x509.Certificate) { c.IsCA = true })},
		{"the intermediate itself", BadID, "its name has no path", func(w world) []*x509.Certificate { return []*x509.Certificate{w.issuer.cert} }},
		{"the root itself", BadID, "its name has no path", func(w world) []*x509.Certificate { return []*x509.Certificate{w.root.cert} }},
		{"a leaf that may sign certificates", LeafSigns, "section 4.3: keyCertSign must not be set", signed(good, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })},
		{"a leaf that may sign CRLs", LeafSigns, "section 4.3: cRLSign must not be set", signed(good, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })},
		{"no key usage", BadKeyUsage, "section 4.3: digitalSignature must be set", signed(good, func(c *x509.Certificate) { c.KeyUsage = 0 })},
		{"key usage for encryption alone", BadKeyUsage, "as above", signed(good, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })},
		{"server alone as client", Untrusted, "extended key usage, if there, must cover what the peer does", signed(good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"code signing", Untrusted, "as above", signed(good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })},
		{"no extended key usage", "", "section 4.4: it may be absent, then nothing is restricted", signed(good, func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		{"no basic constraints", "", "section 4.1 demands them of CAs; without them it is none", signed(good, func(c *x509.Certificate) { c.BasicConstraintsValid = false })},
		{"expired", Expired, "past its end", signed(good, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })},
		{"not yet valid", NotYetValid, "before its begin", signed(good, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })},
		{"ends before it begins", NotYetValid, "never valid", signed(good, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Minute), time.Now().Add(time.Second)
		})},
		{"an unknown critical extension", Untrusted, "RFC 5280 section 4.2: what must be understood and is not, is refused", signed(good, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}})
		})},
		{"RSA of 1,024 bits", WeakKey, "can be broken", func(w world) []*x509.Certificate {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				w.Fatal(err)
			}
			return w.issuer.leafFor(good, key, nil)
		}},
		{"P-224", WeakKey, "not taken in TLS 1.3", func(w world) []*x509.Certificate {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			if err != nil {
				w.Fatal(err)
			}
			return w.issuer.leafFor(good, key, nil)
		}},
	}
}

func attacksOnChains() []attack {
	return []attack{
		{"self-signed", Untrusted, "nobody vouches for it", func(w world) []*x509.Certificate { chain, _ := w.rogue.leaf(good, nil); return chain }},
		{"self-signed, its root sent along", Untrusted, "roots come from the bundle, never from the peer", func(w world) []*x509.Certificate {
			chain, _ := w.rogue.leaf(good, nil)
			return append(chain, w.rogue.cert)
		}},
		{"a root of the same name", Untrusted, "names do not vouch, keys do", func(w world) []*x509.Certificate {
			twin := authority(w, "shop.example", nil, func(c *x509.Certificate) { c.Subject = w.root.cert.Subject })
			chain, _ := twin.leaf(good, nil)
			return append(chain, w.root.cert)
		}},
		{"a federated domain's authority for our name", Untrusted, "each root vouches for its own trust domain", func(w world) []*x509.Certificate { chain, _ := w.otherIssuer.leaf(good, nil); return chain }},
		{"our authority for a federated name", Untrusted, "as above, the other way round", signed("spiffe://other.example/service/catalog", nil)},
		{"a federated peer", "", "its own root vouches for it", func(w world) []*x509.Certificate {
			chain, _ := w.otherIssuer.leaf("spiffe://other.example/service/catalog", nil)
			return chain
		}},
		{"intermediate missing", Untrusted, "no chain; we fetch nothing", func(w world) []*x509.Certificate { chain, _ := w.issuer.leaf(good, nil); return chain[:1] }},
		{"intermediate of another", Untrusted, "no chain", func(w world) []*x509.Certificate {
			chain, _ := w.issuer.leaf(good, nil)
			return []*x509.Certificate{chain[0], w.otherIssuer.cert}
		}},
		{"signed by an SVID", Untrusted, "an SVID is no authority", func(w world) []*x509.Certificate {
			chain, key := w.issuer.leaf("spiffe://shop.example/service/evil", nil)
			evil := &ca{tb: w, cert: chain[0], key: key, up: w.issuer}
			out, _ := evil.leaf(good, nil)
			return out
		}},
		{"expired intermediate", Expired, "every certificate of the chain must be valid now", below(good, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		{"intermediate that is no CA", Untrusted, "basic constraints", below(good, func(c *x509.Certificate) { c.IsCA = false })},
		{"intermediate that may not sign", Untrusted, "key usage", below(good, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })},
		{"path length exceeded", Untrusted, "an intermediate of path length 0 has none below it", func(w world) []*x509.Certificate {
			short := authority(w, "shop.example", w.root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
			chain, _ := authority(w, "shop.example", short, nil).leaf(good, nil)
			return chain
		}},
		{"intermediate of another trust domain", ForeignIssuer, "X509-SVID section 2: what signs for a domain bears its name, if any", below(good, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "other.example"}} })},
		{"intermediate named like a workload", ForeignIssuer, "a signing certificate has no path", below(good, func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/service/evil"}}
		})},
		{"intermediate without a name", "", "upstream authorities bear none; the root decides", below(good, func(c *x509.Certificate) { c.URIs = nil })},
		{"name constraints that exclude the domain", Untrusted, "RFC 5280 section 4.2.1.10", below(good, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.ExcludedURIDomains, c.URIs = true, []string{"shop.example"}, nil
		})},
		{"name constraints for another domain", Untrusted, "as above", below(good, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedURIDomains, c.URIs = true, []string{"corp.example"}, nil
		})},
		{"name constraints for ours", "", "as above", below(good, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedURIDomains, c.URIs = true, []string{"shop.example"}, nil
		})},
		{"intermediate for mail alone", Untrusted, "extended key usages of a CA bind what is below it", below(good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })},
		{"certificates in wrong order", "", "RFC 8446 section 4.4.2: only the leaf must stand first", func(w world) []*x509.Certificate {
			middle := authority(w, "shop.example", w.issuer, nil)
			chain, _ := middle.leaf(good, nil)
			chain[1], chain[2] = chain[2], chain[1]
			return chain
		}},
		{"a very long chain", LongChain, "its cost would be ours", func(w world) []*x509.Certificate {
			chain, _ := w.issuer.leaf(good, nil)
			return append(chain, slices.Repeat([]*x509.Certificate{w.rogue.cert}, maxChain)...)
		}},
	}
}

func attacksOnRevocation() []attack {
	return []attack{
		{"revoked serial number", Revoked, "on the list", func(w world) []*x509.Certificate {
			return []*x509.Certificate{w.revokedSerialAsPublished, w.issuer.cert}
		}},
		{"a revoked serial number used again", Revoked, "for another service too: numbers are random, the same one twice is no accident", signed("spiffe://shop.example/service/web", func(c *x509.Certificate) { c.SerialNumber.SetString(revokedSerial, 16) })},
		{"revoked service, new serial number", Revoked, "the service is on the list, not one certificate", signed("spiffe://shop.example/service/payments", nil)},
		{"a revoked service's name in a federated domain", "", "another domain's service; the list is of ours", func(w world) []*x509.Certificate {
			chain, _ := w.otherIssuer.leaf("spiffe://other.example/service/payments", nil)
			return chain
		}},
		{"on a revoked node", Revoked, "the issuer wrote the node into the SVID", signed(good, func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"node:n1"} })},
		{"restored service, SVID of before", Revoked, "a key that was stolen does not come back with its service", signed("spiffe://shop.example/service/orders", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-2 * time.Hour) })},
		{"restored service, new SVID", "", "issued after it was restored", signed("spiffe://shop.example/service/orders", nil)},
	}
}

const revokedSerial = "c0ffee"

// TestAttacks holds the verdict on each way to pose as a peer.
func TestAttacks(t *testing.T) {
	w := world{T: t, root: authority(t, "shop.example", nil, nil), otherRoot: authority(t, "other.example", nil, nil), rogue: authority(t, "shop.example", nil, nil)}
	w.issuer, w.otherIssuer = authority(t, "shop.example", w.root, nil), authority(t, "other.example", w.otherRoot, nil)
	v, live := trusting(t, bundle("shop.example", w.root), bundle("other.example", w.otherRoot))
	w.revokedSerialAsPublished = signed(good, func(c *x509.Certificate) { c.SerialNumber.SetString(revokedSerial, 16) })(w)[0]
	list, err := revocation.New(spiffeid.RequireTrustDomainFromString("shop.example"), 1, []revocation.Entry{
		{Kind: revocation.Serial, Value: revokedSerial},
		{Kind: revocation.Service, Value: "service/payments"},
		{Kind: revocation.Node, Value: "n1"},
		{Kind: revocation.Service, Value: "service/orders", Before: time.Now().Add(-time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.Deny(list); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			w := w
			w.T = t
			w.root.tb, w.issuer.tb, w.otherIssuer.tb, w.rogue.tb = t, t, t, t
			chain := a.show(w)
			p, err := v.Verify(chain, AsClient, time.Now())
			var refusal *Refusal
			switch {
			case a.want == unparsed:
				if len(chain) != 0 {
					t.Errorf("it is parsed, although: %s", a.why)
				}
			case a.want == "" && err != nil:
				t.Errorf("refused (%v), although: %s", err, a.why)
			case a.want != "" && err == nil:
				t.Errorf("accepted as %s, although: %s", p.ID, a.why)
			case a.want != "" && (!errors.As(err, &refusal) || refusal.Reason != a.want):
				t.Errorf("%v; want %s, since: %s", err, a.want, a.why)
			case strings.ContainsAny(errText(err), "\n\x00\t"):
				t.Errorf("the error is not one line: %q", err)
			}
			if err != nil {
				refused++
			}
		})
	}
	t.Logf("%d rows, %d refused", len(attacks()), refused)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestBadRoots holds that a bundle cannot make a peer of a root.
func TestBadRoots(t *testing.T) {
	leafRoot := authority(t, "shop.example", nil, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	silent := authority(t, "shop.example", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	for name, root := range map[string]*ca{"no CA": leafRoot, "may not sign": silent} {
		if _, err := NewTrust(bundle("shop.example", root)); err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
	root := authority(t, "shop.example", nil, nil)
	if _, err := NewTrust(bundle("shop.example", root), bundle("shop.example", root)); err == nil {
		t.Error("two bundles of one trust domain")
	}
	chain, _ := root.leaf(good, nil)
	none, _ := trusting(t, bundle("shop.example"))
	var refusal *Refusal
	if _, err := none.Verify(chain, AsServer, time.Now()); !errors.As(err, &refusal) || refusal.Reason != Untrusted {
		t.Errorf("an empty bundle: %v", err)
	}
	if _, err := NewVerifier(new(Live)).Verify(chain, AsServer, time.Now()); !errors.As(err, &refusal) || refusal.Reason != UnknownDomain {
		t.Errorf("no trust at all: %v", err)
	}
}
