package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/token"
)

const standModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
services:
  web: {address: "http://127.0.0.1:1", expose: [{host: web.localhost, path: /, allow: [{anyone: true}]}]}
`

// openStand opens what a control of a model stands on.
func openStand(t *testing.T, folder, text string) (*control.Options, error) {
	t.Helper()
	path := filepath.Join(folder, "palisade.yaml")
	write(t, path, standModel+text)
	o := &Options{Paths: []string{path}, State: filepath.Join(folder, "state"), Err: t.Output(), Out: t.Output()}
	_, snap, findings, err := o.forOthers().load(false)
	if err != nil {
		t.Fatal(err, findings)
	}
	s := &stand{snap: snap, mesh: snap.Mesh, state: o.State}
	t.Cleanup(func() { _ = s.close() })
	return s.open(t.Context(), ControlPlace{})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// parent makes an upstream authority: the chain of an intermediate, and its key.
func parent(t *testing.T) (chain, key string) {
	t.Helper()
	certify := func(template, by *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by, signer = template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, by, own.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, own
	}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			URIs: []*url.URL{{Scheme: "spiffe", Host: "shop.example"}},
		}
	}
	root, rootKey := certify(template("root"), nil, nil)
	middle, middleKey := certify(template("middle"), root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(middleKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*x509.Certificate{middle, root} {
		chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return chain, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestControlStand holds that control stands on what its model says.
func TestControlStand(t *testing.T) {
	folder := t.TempDir()
	chain, key := parent(t)
	staff, err := token.CreateDevelopment(filepath.Join(folder, "staff"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "chain.pem"), chain)
	write(t, filepath.Join(folder, "key.pem"), key)
	write(t, filepath.Join(folder, "staff.json"), string(staff.PublicJWKS()))
	write(t, filepath.Join(folder, "token"), "of control\n")
	o, err := openStand(t, folder, `roles: {boss: {}, support: {}, desk: {includes: [support]}}
providers: {staff: {issuer: "https://staff.example", audience: [shop], jwks_file: staff.json}}
mesh:
  svid: {lifetime: 30m}
  issuer: {upstream: {chain: chain.pem, key: {from_file: key.pem}}}
  federation: {partner.example: {url: "https://partner.example/bundle"}}
  control:
    address: control.example:9950
    administrators: {provider: staff, audience: [palisade-control], viewer: [support], admin: [boss]}
    certificates: {roots: chain.pem, names: {host-1: [service/web]}}
    kubernetes: {ca: `+filepath.Join(folder, "chain.pem")+`, token_file: `+filepath.Join(folder, "token")+`}
    join: 2h
    grace: 5h
`)
	if err != nil {
		t.Fatal(err)
	}
	if o.Listen != ":9950" || o.Bus.Listen != ":4222" || len(o.Bus.Advertise) != 1 || o.Bus.Advertise[0] != "tls://control.example:4222" || o.Join != 2*time.Hour || o.Grace != 5*time.Hour {
		t.Errorf("places and lives: %+v", o)
	}
	if o.Parent == nil || o.Keys != nil || len(o.Federation) != 1 || o.Federation[0].TrustDomain.Name() != "partner.example" || o.Certificates.Names["host-1"][0] != "service/web" {
		t.Errorf("authority and proofs: %+v", o)
	}
	if own, err := o.Kubernetes.Token(); err != nil || own != "of control" || o.Kubernetes.Audience != "shop.example" {
		t.Errorf("reviews: %q %v", own, err)
	}
	issue := func(issuer, audience string, roles ...string) string {
		text, err := staff.Issue(token.Claims{Subject: "ann", Issuer: issuer, Audience: []string{audience}, Roles: roles})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct {
		token string
		role  admin.Role // the highest
	}{
		"boss":            {issue("https://staff.example", "palisade-control", "boss"), admin.Admin},
		"by inclusion":    {issue("https://staff.example", "palisade-control", "desk"), admin.Viewer},
		"no role":         {issue("https://staff.example", "palisade-control"), ""},
		"of the edge":     {issue("https://staff.example", "shop", "boss"), "refused"},
		"of another":      {issue("https://other.example", "palisade-control", "boss"), "refused"},
		"not signed":      {strings.TrimRight(issue("https://staff.example", "palisade-control", "boss"), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") + "AAAA", "refused"},
		"nothing":         {"", "refused"},
		"several headers": {"a, Bearer b", "refused"},
	} {
		u, err := o.Authenticate(t.Context(), c.token)
		role := admin.Role("")
		if err != nil {
			role = "refused"
		}
		for _, r := range u.Roles {
			if o.Roles[r].Permits(role) || role == "" {
				role = o.Roles[r]
			}
		}
		if role != c.role || err == nil && u.Name != "staff:ann" {
			t.Errorf("%s: %+v is %q, want %q (%v)", name, u, role, c.role, err)
		}
	}
}

// TestControlStandWrong holds that what cannot be opened is told with its key, and without secrets.
func TestControlStandWrong(t *testing.T) {
	t.Setenv("STORE_OF_MYSQL", "mysql://root:hunter2@db/x")
	t.Setenv("STORE_IN_CLEAR", "postgres://control:hunter2@db.example/x")
	chain, key := parent(t)
	_, other := parent(t)
	for name, c := range map[string]struct{ text, want string }{
		"no mesh":         {"", "mesh: this model has none"},
		"store not set":   {"mesh: {control: {store: {from_env: NO_SUCH_STORE}}}", `mesh.control.store: environment variable "NO_SUCH_STORE"`},
		"another store":   {"mesh: {control: {store: {from_env: STORE_OF_MYSQL}}}", "not a postgres:// URL"},
		"store in clear":  {"mesh: {control: {store: {from_env: STORE_IN_CLEAR}}}", "sslmode=verify-full"},
		"no API server":   {"mesh: {control: {kubernetes: {ca: /no/such/ca.crt}}}", "mesh.control.kubernetes.ca"},
		"token not built": {`mesh: {keys: "pkcs11:token=t?module-path=/lib/x.so&pin-source=/run/pin"}`, "mesh.keys"},
		"no key service":  {`mesh: {keys: "hashivault://palisade"}`, "mesh.keys"},
		"no key":          {"mesh: {issuer: {upstream: {chain: chain.pem, key: {from_file: none.pem}}}}", "mesh.issuer.upstream.key"},
		"another key":     {"mesh: {issuer: {upstream: {chain: chain.pem, key: {from_file: other.pem}}}}", "mesh.issuer.upstream.key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("VAULT_ADDR", "")
			folder := t.TempDir()
			write(t, filepath.Join(folder, "chain.pem"), chain)
			write(t, filepath.Join(folder, "key.pem"), key)
			write(t, filepath.Join(folder, "other.pem"), other)
			_, err := openStand(t, folder, c.text+"\n")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
