package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/internal/porttest"
)

// TestAuditOfControl: what control records is in its ledger, which verifies while it runs, after kill -9, and when it goes on.
func TestAuditOfControl(t *testing.T) {
	t.Parallel()
	d := newControl(t, "")
	verified := func() *audit.Result {
		t.Helper()
		out := new(audit.Result)
		must(t, json.Unmarshal([]byte(d.must("audit", "verify", "--format=json")), out))
		return out
	}
	had := uint64(0)
	for range 2 {
		d.startControl()
		for _, verb := range []string{"revoke", "restore"} {
			d.must(verb, "service/payments")
		}
		d.Eventually("the ledger has grown", func() bool {
			_, err := os.Stat(d.Path(".palisade/ledger/checkpoint"))
			return err == nil && verified().Verified >= had+2
		})
		d.kill()
		if had = verified().Verified; had < 2 {
			t.Errorf("%d records", had)
		}
	}
	d.Edit(".palisade/ledger/key.pub", "shop.example", "shop.example.com")
	if r := d.verb("audit", "verify"); r.code != exitError {
		t.Errorf("a checkpoint of another name: %+v", r)
	}
}

// TestAudit: what up records is in the ledger, which verifies while it runs, after kill -9, and from an export alone; who alters
// a record is found.
func TestAudit(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	ask := func(n int) {
		t.Helper()
		for range n {
			resp, err := u.Client(false).Do(u.Request(http.MethodGet, "/front", ""))
			if err == nil {
				err = resp.Body.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	state := "--state=" + u.Path(".palisade")
	verify := func(want int, args ...string) *audit.Result {
		t.Helper()
		var out, messages strings.Builder
		r := &audit.Result{}
		if code := run(append([]string{"audit", "verify", "--format=json", state}, args...), &out, &messages); code != want {
			t.Fatalf("exit code %d, want %d: %s%s", code, want, &out, &messages)
		}
		if err := json.Unmarshal([]byte(out.String()), r); want != exitError && err != nil {
			t.Fatal(err)
		}
		return r
	}
	grown := func(n uint64) {
		t.Helper()
		u.Eventually("the ledger has grown", func() bool {
			if _, err := os.Stat(u.Path(".palisade/ledger/checkpoint")); err != nil {
				return false
			}
			return verify(exitOK).Verified >= n
		})
	}
	ask(20)
	grown(20)
	u.signal(syscall.SIGKILL)
	u.ends()
	verify(exitOK)
	if r := verb(t, nil, "audit", "verify", u.Dir); r.code != exitOK || !strings.Contains(r.out, "verified") {
		t.Errorf("beside the model: %d %s%s", r.code, r.out, r.err)
	}
	before := filepath.Join(t.TempDir(), "checkpoint")
	text, err := os.ReadFile(u.Path(".palisade/ledger/checkpoint"))
	if err == nil {
		err = os.WriteFile(before, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	u.startReady()
	ask(20)
	grown(40)
	if !u.ready() {
		t.Error("not ready")
	}
	dir := filepath.Join(t.TempDir(), "export")
	if out, code := u.palisade("audit", "export", "--out", dir); code != exitOK {
		t.Fatal(out)
	}
	key := u.Path(".palisade/ledger/key.pub")
	if r := verify(exitOK, dir, "--key", key, "--earlier", before); r.Verified < 40 || r.Earlier < 20 || r.OwnKey {
		t.Errorf("%+v", r)
	}
	if err := os.Truncate(filepath.Join(dir, "records.ndjson.gz"), 500); err != nil {
		t.Fatal(err)
	}
	if r := verify(exitFindings, dir, "--key", key); r.Sound() {
		t.Errorf("%+v", r)
	}
	verify(exitError, filepath.Join(dir, "nowhere"))
	own := t.TempDir()
	for range 2 {
		var out, messages strings.Builder
		if code := run([]string{"audit", "witness", u.Path(".palisade/ledger"), "--own", own, "--key", key, "--name", "auditor.example"}, &out, &messages); code != exitOK {
			t.Error(&messages)
		}
	}
}

// TestAuditWitnessServed has a second party witness the ledger of a control over HTTPS, which shows it only if the model says so.
func TestAuditWitnessServed(t *testing.T) {
	t.Parallel()
	ports := porttest.Free(t, 1)
	d := newControl(t, fmt.Sprintf("bus: {listen: %q}\n    publish_ledger: true", ports[0]))
	d.startControl()
	own, key, bundle := t.TempDir(), d.Path(".palisade/ledger/key.pub"), filepath.Join(t.TempDir(), "bundle.json")
	if err := os.WriteFile(bundle, []byte(d.must("bundle")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Eventually("the ledger has begun", func() bool {
		text, err := os.ReadFile(d.Path(".palisade/ledger/checkpoint"))
		return err == nil && len(text) > 0
	})
	at := "https://" + d.at + "/v1/ledger"
	witness := func(args ...string) result {
		return verb(t, nil, append([]string{"audit", "witness", "--own", own, "--key", key, "--name", "auditor.example"}, args...)...)
	}
	for range 2 {
		if r := witness(at, "--bundle", bundle); r.code != exitOK || !strings.Contains(r.out, "auditor.example") {
			t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
		}
		d.must("join", "service/web") // which is recorded
	}
	if r := witness(at); r.code != exitError || !strings.Contains(r.err, "certificate") {
		t.Errorf("without the bundle: %d %s", r.code, r.err)
	}
	if r := witness(d.Path(".palisade/ledger"), "--bundle", bundle); r.code != exitError || !strings.Contains(r.err, "--bundle says how control is known") {
		t.Errorf("of a folder: %d %s", r.code, r.err)
	}
	if code := d.end(); code != exitOK {
		t.Errorf("control ends with %d\n%s", code, &d.Messages)
	}
	d.Edit("palisade.yaml", "publish_ledger: true", "publish_ledger: false")
	d.startControl()
	if r := witness(at, "--bundle", bundle); r.code != exitError || !strings.Contains(r.err, "file does not exist") {
		t.Errorf("of one that is not published: %d %s", r.code, r.err)
	}
}

// TestAuditWitnessUp has a second party witness the ledger of a fleet that runs under up, as that of a control: only if the model says so.
func TestAuditWitnessUp(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	at := porttest.Free(t, 1)[0]
	u.Edit("palisade.yaml", "providers:\n", fmt.Sprintf("mesh: {isolation: \"off\", control: {listen: %q, publish_ledger: true}}\nproviders:\n", at))
	u.startReady()
	u.Says("https://" + at + "/v1/ledger")
	u.Eventually("the ledger has begun", func() bool {
		text, err := os.ReadFile(u.Path(".palisade/ledger/checkpoint"))
		return err == nil && len(text) > 0
	})
	state := "--state=" + u.Path(".palisade")
	bundle := filepath.Join(t.TempDir(), "bundle.json")
	r := verb(t, nil, "bundle", state)
	if r.code != exitOK {
		t.Fatal(r.err)
	}
	must(t, os.WriteFile(bundle, []byte(r.out), 0o600))
	own, key := t.TempDir(), u.Path(".palisade/ledger/key.pub")
	witness := func(args ...string) result {
		return verb(t, nil, append([]string{"audit", "witness", "https://" + at + "/v1/ledger", "--own", own, "--key", key, "--name", "auditor.example"}, args...)...)
	}
	if r := witness("--bundle", bundle); r.code != exitOK || !strings.Contains(r.out, "auditor.example") {
		t.Errorf("%d: %s%s", r.code, r.out, r.err)
	}
	if r := witness(); r.code != exitError || !strings.Contains(r.err, "certificate") {
		t.Errorf("without the bundle: %d %s", r.code, r.err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for path, want := range map[string]int{
		"/v1/ledger/checkpoint": http.StatusOK, "/v1/ledger/key.pub": http.StatusNotFound, "/v1/ledger/tile/entries/000": http.StatusNotFound,
		"/v1/admin/status": http.StatusNotFound, "/v1/bundle": http.StatusNotFound, "/": http.StatusNotFound,
	} {
		a, err := client.Get("https://" + at + path)
		must(t, err)
		must(t, a.Body.Close())
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
	}
	if out := verb(t, nil, "status", state); strings.Contains(out.out, "example/control") || out.code != exitOK {
		t.Errorf("status: %s%s", out.out, out.err)
	}
	u.signal(syscall.SIGTERM)
	u.ends()
	u.Edit("palisade.yaml", "publish_ledger: true", "publish_ledger: false")
	u.startReady()
	if r := witness("--bundle", bundle); r.code != exitError || !strings.Contains(r.err, "refused") {
		t.Errorf("of one that is not published: %d %s", r.code, r.err)
	}
}

// TestAuditWitnessAsked has a fleet under up ask a witness to sign, which runs in a process of its own.
func TestAuditWitnessAsked(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	u.Eventually("the ledger has begun", func() bool {
		text, err := os.ReadFile(u.Path(".palisade/ledger/checkpoint"))
		return err == nil && len(text) > 0
	})
	u.signal(syscall.SIGTERM)
	u.ends()
	at, own, key := porttest.Free(t, 1)[0], t.TempDir(), u.Path(".palisade/ledger/key.pub")
	if r := verb(t, nil, "audit", "witness", "--serve=0.0.0.0:0", "--own="+own, "--key="+key, "--name=auditor.example"); r.code != exitError || !strings.Contains(r.err, "--cert") {
		t.Errorf("to others without TLS: %d %s", r.code, r.err)
	}
	public, err := os.ReadFile(filepath.Join(own, "witness.pub"))
	must(t, err)
	witness := exec.CommandContext(t.Context(), "palisade", "audit", "witness", "--serve="+at, "--own="+own, "--key="+key)
	must(t, witness.Start())
	t.Cleanup(func() { _ = witness.Wait() }) // the context of the test has ended it
	u.Edit("palisade.yaml", "providers:\n", fmt.Sprintf("audit: {witnesses: [{url: %q, key: %q}]}\nproviders:\n", "http://"+at, strings.TrimSpace(string(public))))
	u.startReady()
	u.Eventually("it has signed", func() bool {
		r := verb(t, nil, "audit", "verify", "--state="+u.Path(".palisade"), "--key="+key, "--witness="+filepath.Join(own, "witness.pub"))
		return r.code == exitOK && strings.Contains(r.out, "witnessed by auditor.example")
	})
}
