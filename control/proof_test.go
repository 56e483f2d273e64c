package control_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/peer"
)

// certificate makes a certificate for a node, by an authority of its own.
func certificate(t *testing.T, name string) (*x509.CertPool, *tls.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		if by == nil {
			parent, by = template, key
		}
		template.SerialNumber, template.NotBefore, template.NotAfter = big1(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		must(t, err)
		cert, err := x509.ParseCertificate(der)
		must(t, err)
		return cert, key
	}
	root, rootKey := issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := issue(&x509.Certificate{
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, root, rootKey)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool, &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

func big1() *big.Int {
	n, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return n
}

// TestCertificate holds that a node certificate proves what it was declared for, and no other does.
func TestCertificate(t *testing.T) {
	pool, good := certificate(t, "host-1.shop.example")
	_, foreign := certificate(t, "host-1.shop.example")
	s := newSite(t, compile(t, shop), func(o *control.Options) {
		o.Certificates = &control.Certificates{Roots: pool, Names: map[string][]string{"host-1.shop.example": {"service/orders"}}}
	})
	s.start()
	bundle := fetchBundle(t, s)
	with := func(name string, cert *tls.Certificate) *proxy {
		return newProxy(t, s, name, t.TempDir(), func(o *client.Options) { o.Certificate, o.Bundle = cert, bundle }).run()
	}
	orders := with("service/orders", good)
	orders.ready()
	own, err := orders.Certificate()
	must(t, err)
	if node := peer.NodeOf(own.Leaf); node != "host-1.shop.example" { // whatever it calls itself: "host"
		t.Errorf("the SVID names the node %q", node)
	}
	for name, p := range map[string]*proxy{"another name": with("service/web", good), "another authority": with("service/orders", foreign)} {
		eventually(t, name+" is refused", func() bool { return len(p.noted("not-enrolled")) > 0 })
	}
	orders.stop()
	if _, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "node", Value: "host-1.shop.example"}); err != nil {
		t.Fatal(err)
	}
	again := newProxy(t, s, "service/orders", t.TempDir(), func(o *client.Options) { o.Certificate, o.Bundle, o.Node = good, bundle, "innocent" }).run()
	eventually(t, "the revoked node does not come back by another name", func() bool { return len(again.noted("not-enrolled")) > 0 })
}

func fetchBundle(t *testing.T, s *site) []byte {
	t.Helper()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer web.CloseIdleConnections()
	answer, err := web.Get("https://" + s.listen + wire.BundlePath)
	must(t, err)
	defer answer.Body.Close()
	var data json.RawMessage
	must(t, json.NewDecoder(answer.Body).Decode(&data))
	return data
}

// TestKubernetes holds that a service account proves the service that declares it. The API server's answers are those of
// TokenReview.
func TestKubernetes(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Spec struct {
				Token string `json:"token"`
			} `json:"spec"`
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		account, ok := strings.CutPrefix(q.Spec.Token, "token of ")
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "status": map[string]any{
			"authenticated": ok, "audiences": []string{domain},
			"user": map[string]any{"username": "system:serviceaccount:shop:" + account, "groups": []string{"system:serviceaccounts:shop"}, "extra": map[string]any{"authentication.kubernetes.io/node-name": []string{"node-7"}}},
		}})
	}))
	defer api.Close()
	s := newSite(t, compile(t, shop), func(o *control.Options) {
		o.Kubernetes = &attest.Kubernetes{URL: api.URL, Audience: domain, Token: func() (string, error) { return "own", nil }, Client: api.Client()}
	})
	s.start()
	bundle := fetchBundle(t, s)
	with := func(name, token string) *proxy {
		path := filepath.Join(t.TempDir(), "token")
		must(t, os.WriteFile(path, []byte(token+"\n"), 0o600))
		return newProxy(t, s, name, t.TempDir(), func(o *client.Options) { o.Kubernetes, o.Bundle = path, bundle }).run()
	}
	payments := with("service/payments", "token of payments")
	payments.ready()
	own, err := payments.Certificate()
	must(t, err)
	if node := peer.NodeOf(own.Leaf); node != "node-7" {
		t.Errorf("the SVID names the node %q", node)
	}
	for what, p := range map[string]*proxy{
		"another account": with("service/payments", "token of web"), "another service": with("service/orders", "token of payments"),
		"no token": with("service/payments", "nonsense"),
	} {
		eventually(t, what+" is refused", func() bool { return len(p.noted("not-enrolled")) > 0 })
	}
}

// TestLapsed holds that a proxy whose SVID has ended enrols again with its key, within the grace and no longer, and never
// if it was revoked.
func TestLapsed(t *testing.T) {
	for name, c := range map[string]struct {
		grace time.Duration
		back  bool
	}{"within the grace": {time.Hour, true}, "too late": {-1, false}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, compile(t, shop), func(o *control.Options) { o.Grace = c.grace })
			s.start()
			dir := t.TempDir()
			p := newProxy(t, s, "service/orders", dir, func(o *client.Options) { o.JoinToken = s.token("service/orders") }).run()
			p.ready()
			p.stop()
			age(t, openRing(t, dir), s)
			p = newProxy(t, s, "service/orders", dir, nil).run()
			if c.back {
				p.ready()
				eventually(t, "it has enrolled", func() bool { return slices.Contains(p.noted("enrolled"), "by lapsed") })
				return
			}
			eventually(t, "it is refused", func() bool { return len(p.noted("not-enrolled")) > 0 })
		})
	}
}

// age replaces a kept SVID by one for the same key that has just ended.
func age(t *testing.T, ring interface {
	Load(string) ([]byte, error)
	Save(string, []byte) error
}, s *site,
) {
	t.Helper()
	const name = "control.service.orders.identity"
	data, err := ring.Load(name)
	must(t, err)
	var kept map[string]json.RawMessage
	must(t, json.Unmarshal(data, &kept))
	var chain [][]byte
	must(t, json.Unmarshal(kept["chain"], &chain))
	leaf, err := x509.ParseCertificate(chain[0])
	must(t, err)
	issuer, err := x509.ParseCertificate(chain[1])
	must(t, err)
	key, err := control.IssuerKey(context.WithoutCancel(t.Context()), s.store, s.ring, issuer)
	must(t, err)
	leaf.NotBefore, leaf.NotAfter = time.Now().Add(-10*time.Minute), time.Now().Add(-time.Second)
	leaf.ExtraExtensions = leaf.Extensions
	if chain[0], err = x509.CreateCertificate(rand.Reader, leaf, issuer, leaf.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	kept["chain"], err = json.Marshal(chain)
	must(t, err)
	data, err = json.Marshal(kept)
	must(t, err)
	must(t, ring.Save(name, data))
}
