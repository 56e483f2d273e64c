package mesh

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// foreign serves a Workload API that gives us identities, and returns its address and its root.
func foreign(t *testing.T, services ...string) (string, *x509.Certificate) {
	t.Helper()
	dir, err := os.MkdirTemp("", "spiffe") //nolint:usetesting // a socket lies in it, whose path must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	domain, err := workload.ParseID(model.ControlID("shop.example"))
	must(t, err)
	a, err := authority.Open(t.Context(), authority.Config{
		TrustDomain: domain.TrustDomain(), Keys: ringIn(t, dir), Store: authority.NewFileStore(filepath.Join(dir, "authority")), Log: slog.New(slog.DiscardHandler),
		X509TTL: time.Hour,
	})
	must(t, err)
	edge, err := workload.ParseID(model.EdgeID("shop.example"))
	must(t, err)
	ids := []workload.Identity{{ID: edge}}
	for _, name := range services {
		id, err := workload.ParseID(model.ServiceID("shop.example", name))
		must(t, err)
		ids = append(ids, workload.Identity{ID: id})
	}
	local := workload.NewLocal(a, "")
	server, err := workload.New(workload.Config{Source: local, Log: slog.New(slog.DiscardHandler), Entitle: func(context.Context, *attest.Peer) ([]workload.Identity, <-chan struct{}, error) {
		return ids, nil, nil
	}})
	must(t, err)
	path := filepath.Join(dir, "agent.sock")
	ln, err := workload.Listen(t.Context(), path)
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 3)
	go func() { done <- a.Run(ctx) }()
	go func() { done <- local.Run(ctx) }()
	go func() { done <- server.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-done
		}
	})
	return "unix://" + path, a.Bundle().X509Authorities()[0]
}

// TestExternal runs a fleet whose identities another Workload API issues.
func TestExternal(t *testing.T) {
	at, root := foreign(t, "web", "catalog", "orders", "ledger")
	f := newFleet(t, `mesh: {isolation: "off"}`, `mesh: {isolation: "off", issuer: {workload_api: "`+at+`"}}`)
	if status, body := f.ask(t, "web", "catalog", "/catalog"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if got := f.say(t, "orders", "hello"); got != "hello" {
		t.Errorf("the ledger says %q", got)
	}
	cert, err := f.Sidecar("web").Identity()
	must(t, err)
	chain := x509.NewCertPool()
	chain.AddCert(root)
	between := x509.NewCertPool()
	for _, raw := range cert.Certificate[1:] {
		one, err := x509.ParseCertificate(raw)
		must(t, err)
		between.AddCert(one)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: chain, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("the SVID is not the other's: %v", err)
	}
	if cut, err := f.Revoke(t.Context(), "service", "service/web", "stolen", "admin"); err != nil || cut.Connections == 0 {
		t.Errorf("cut %+v, %v", cut, err)
	}
	if status, body := f.ask(t, "web", "catalog", "/catalog"); status != http.StatusBadGateway {
		t.Errorf("the revoked web gets %d %s", status, body)
	}
}

// TestExternalGivesLess holds that a fleet does not start whose identities the other does not have.
func TestExternalGivesLess(t *testing.T) {
	at, _ := foreign(t, "web")
	dir := t.TempDir()
	path := filepath.Join(dir, "palisade.yaml")
	text := strings.Replace(fleetModel, `mesh: {isolation: "off"}`, `mesh: {isolation: "off", issuer: {workload_api: "`+at+`"}}`, 1)
	text = strings.NewReplacer("WEB", "127.0.0.1:1", "CATALOG", "127.0.0.1:2", "ORDERS", "127.0.0.1:3", "LEDGER", "127.0.0.1:4").Replace(text)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	d, _, err := model.Load(path)
	must(t, err)
	snap, findings := d.Compile(model.Options{})
	if snap == nil {
		t.Fatal(findings)
	}
	m, err := Open(t.Context(), snap, Options{Folder: filepath.Join(dir, "mesh"), Recorder: &records{}, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	err = m.Run(t.Context(), func() { t.Error("it is ready") })
	if err == nil || !strings.Contains(err.Error(), "mesh.issuer.workload_api: "+at+" gives this process no SVID of spiffe://shop.example/service/catalog") {
		t.Errorf("got %v", err)
	}
}
