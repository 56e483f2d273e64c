package mesh

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/svidfile"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/model"
)

// workloadAPI gives every process the SVID of web, and returns its address.
func (f *fleet) workloadAPI(t *testing.T) string {
	t.Helper()
	web := spiffeid.RequireFromString(model.ServiceID("shop.example", "web"))
	server, err := workload.New(workload.Config{
		Source: f.source, Log: slog.New(slog.DiscardHandler),
		Entitle: func(context.Context, *attest.Peer) ([]workload.Identity, <-chan struct{}, error) {
			return []workload.Identity{{ID: web}}, nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	listener, err := workload.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "unix://" + path
}

// TestForeignClients holds that software that is not ours, with an SVID from the Workload API, gets from a sidecar what
// the model lets its service have, and nothing else.
func TestForeignClients(t *testing.T) {
	f := newFleet(t)
	api := f.workloadAPI(t)
	addresses, _ := f.places.of("catalog")
	want := map[string]int{"/catalog": http.StatusOK, "/stock": http.StatusForbidden}

	source, err := workloadapi.NewX509Source(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr(api)))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	id := spiffeid.RequireFromString(model.ServiceID("shop.example", "catalog"))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(id))}}
	defer client.CloseIdleConnections()
	for path, status := range want {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addresses[0]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "catalog"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != status || status == http.StatusOK && string(body) != "catalog "+path {
			t.Errorf("go-spiffe: %s: %s %s", path, resp.Status, body)
		}
	}

	hosttest.Need(t, "curl")
	dir := t.TempDir()
	if _, err := svidfile.Write(t.Context(), svidfile.Options{Address: api, Folder: dir}); err != nil {
		t.Fatal(err)
	}
	for path, status := range want {
		args := []string{"--silent", "--show-error", "--insecure", "--write-out", " %{http_code}", "--header", "Host: catalog", "https://" + addresses[0] + path}
		out, err := exec.CommandContext(t.Context(), "curl", append(args, "--cert", filepath.Join(dir, svidfile.Chain), "--key", filepath.Join(dir, svidfile.Key))...).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), map[int]string{http.StatusOK: "catalog /catalog 200", http.StatusForbidden: " 403"}[status]) {
			t.Errorf("curl: %s: %v: %s", path, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput(); err == nil {
			t.Errorf("curl without an SVID: %s: %s", path, out)
		}
	}
}
