package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
)

// issue is a process that issues the identities of a fleet by a Workload API of its own, in AGENT_FOLDER: it stands for SPIRE's agent. Who
// asks gets what its command line says, since all of a test run the same program as the same user.
func issue() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveIssuer(ctx, os.Getenv("AGENT_FOLDER")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveIssuer(ctx context.Context, folder string) error {
	id, err := workload.ParseID(model.ControlID("shop.example"))
	if err != nil {
		return err
	}
	keeper, err := keyring.LocalKeeper(filepath.Join(folder, "keys"))
	if err != nil {
		return err
	}
	ring, err := keyring.OpenRing(ctx, filepath.Join(folder, "ring"), keeper)
	if err != nil {
		return err
	}
	a, err := authority.Open(ctx, authority.Config{
		TrustDomain: id.TrustDomain(), Keys: ring, Store: authority.NewFileStore(filepath.Join(folder, "authority")), Log: slog.Default(), X509TTL: time.Hour,
	})
	if err != nil {
		return err
	}
	local := workload.NewLocal(a, "")
	server, err := workload.New(workload.Config{Source: local, Entitle: entitled, Log: slog.Default()})
	if err != nil {
		return err
	}
	ln, err := workload.Listen(ctx, filepath.Join(folder, "agent.sock"))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error { return local.Run(ctx) })
	g.Go(func() error { return server.Run(ctx, ln) })
	fmt.Fprintln(os.Stderr, "issues")
	return g.Wait()
}

// entitled gives each process the one identity that it runs for.
func entitled(_ context.Context, caller *attest.Peer) ([]workload.Identity, <-chan struct{}, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", caller.PID()))
	if err != nil {
		return nil, nil, err
	}
	name := ""
	for word := range strings.SplitSeq(string(line), "\x00") {
		switch service, ok := strings.CutPrefix(word, "--service="); {
		case ok:
			name = "service/" + service
		case word == "control":
			name = "control"
		case word == "edge":
			name = "edge/edge"
		}
	}
	id, err := workload.ParseID("spiffe://shop.example/" + name)
	if name == "" || err != nil {
		return nil, nil, errors.Join(workload.ErrDenied, err)
	}
	return []workload.Identity{{ID: id}}, nil, nil
}

// TestHostsIssuer is a fleet of processes whose identities another process issues.
func TestHostsIssuer(t *testing.T) {
	folder, err := os.MkdirTemp("", "agent") //nolint:usetesting // a socket lies in it, whose path must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	agent := exec.Command("test-issuer")
	agent.Env = append(os.Environ(), "AGENT_FOLDER="+folder)
	must(t, agent.Start())
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	socket := filepath.Join(folder, "agent.sock")
	fleettest.New(t).Eventually("the issuer comes up", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	h := newHosts(t, "unix://"+socket)
	h.gets("/call", http.StatusOK, "hello /x")
	h.gets("/who", http.StatusOK, "spiffe://shop.example/service/web")
	if out := h.control.must("status"); !strings.Contains(out, "identities come from a Workload API on each host") || strings.Contains(out, "can be issued until") {
		t.Errorf("status:\n%s", out)
	}
	if r := h.control.verb("join", "service/web"); r.code == exitOK || !strings.Contains(r.err, "--issuer") {
		t.Errorf("join: %+v", r)
	}
	h.control.kill() // a sidecar starts without it, with what the Workload API gives
	h.orders.kill()
	h.orders.start(h.verb(h.orders, "sidecar", "--service=orders", "--listen="+h.ordersAt, h.proof(h.orders))...)
	h.gets("/call", http.StatusOK, "hello /x")
	h.control.startControl()
	h.gets("/call", http.StatusOK, "hello /x")
	h.control.must("revoke", "service/orders")
	h.gets("/call", http.StatusBadGateway, "")
	h.control.must("restore", "service/orders")
	if r := verb(t, nil, h.verb(h.host("service/job"), "run", h.proof(h.web), "--join-token-file=x", "--service=job", "--", "true")...); r.code != exitError || !strings.Contains(r.err, "--issuer: the Workload API of this host says what the proxy is") {
		t.Errorf("two proofs: %+v", r)
	}
	if r := verb(t, nil, h.verb(h.host("service/job"), "run", "--issuer=/run/agent.sock", "--service=job", "--", "true")...); r.code != exitError || !strings.Contains(r.err, "expected unix:///PATH") {
		t.Errorf("no address: %+v", r)
	}
}
