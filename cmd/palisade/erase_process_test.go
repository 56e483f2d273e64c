package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// erased runs "palisade erase" and returns the pseudonym that leads to nobody then.
func (d *daemon) erased(name string) string {
	d.T.Helper()
	out := d.must("erase", name, "--yes", d.Dir)
	_, rest, _ := strings.Cut(out, "the key of ")
	pseudonym, _, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(pseudonym, "person-") || strings.Contains(out, name) {
		d.T.Fatalf("erase says\n%s", out)
	}
	return pseudonym
}

// of are the events of a user as control shows them.
func (d *daemon) of(user string) string {
	return verb(d.T, nil, "events", "-n0", "--format=json", "--user="+user, d.state()).out
}

// TestEraseOfFleet: where proxies record what control keeps, no disk of any of them has the name of a person who is erased.
func TestEraseOfFleet(t *testing.T) {
	h := newHosts(t, "", "telemetry:", "audit: {pseudonyms: true}\ntelemetry:")
	h.gets("/call", http.StatusOK, "hello /x")
	const name, other = "lidia-liddell", "bob-builder"
	h.edge.Eventually("the sidecars know the key of the edge", func() bool { return h.ask(t, other, "customer").StatusCode == http.StatusOK })
	for _, user := range []string{name, other, name} {
		if a := h.ask(t, user, "customer"); a.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", a.StatusCode, a.Text)
		}
	}
	lines := func(text string) int { return strings.Count(text, "\n") }
	h.control.Eventually("control has what two proxies and more saw of it", func() bool { return lines(h.control.of(name)) >= 6 })
	if read := h.control.of(name); !strings.Contains(read, `"uid":"`+name+`"`) || !strings.Contains(read, "for="+name) || strings.Contains(read, other) {
		t.Errorf("read is\n%s", read)
	}
	pseudonym := h.control.erased(name)
	for _, d := range []*daemon{h.control, h.edge, h.web, h.orders} {
		where := ""
		d.Eventually("the name is in no file", func() bool {
			where = ""
			for _, dir := range []string{".palisade", "records"} {
				if _, err := os.Stat(d.Path(dir)); err == nil {
					if found := fleettest.Holding(t, d.Path(dir), name); found != "" {
						where = found
					}
				}
			}
			if where != "" {
				t.Log(where)
			}
			return where == ""
		})
	}
	if left := h.control.of(pseudonym); lines(left) < 6 || strings.Contains(left, name) || h.control.of(name) != "" || lines(h.control.of(other)) < 3 {
		t.Errorf("left are\n%s", left)
	}
	if r := h.control.verb("erase", name, "--yes", h.control.Dir); r.code != exitError || !strings.Contains(r.err, "no pseudonym stands for that name") {
		t.Errorf("a second time: %+v", r)
	}
	if acts := h.control.must("history", "--acts"); !strings.Contains(acts, "erase") || !strings.Contains(acts, pseudonym) || strings.Contains(acts, name) {
		t.Errorf("acts:\n%s", acts)
	}
	h.control.Eventually("the ledger verifies", func() bool { return h.control.verb("audit", "verify").code == exitOK })
	h.ask(t, name, "customer")
	h.control.Eventually("who comes again is somebody else", func() bool {
		again := h.control.of(name)
		return lines(again) >= 3 && !strings.Contains(again, pseudonym) && lines(h.control.of(pseudonym)) >= 6
	})
}

// TestEraseOfControls: two controls over one PostgreSQL have one pseudonym for a person; who is erased through one is nobody to both, and somebody else to
// both when he comes again.
func TestEraseOfControls(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves PostgreSQL and nats-server out")
	}
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	t.Setenv("CONTROL_STORE", postgres.Database(t))
	busAt := porttest.Free(t, 1)[0]
	one := newControl(t, fmt.Sprintf("store: {from_env: CONTROL_STORE}\n    bus: {urls: [%q]}", "tls://"+busAt))
	one.Edit("palisade.yaml", "edge: {admin", "audit: {pseudonyms: true}\nedge: {admin")
	one.must("bus-server", "nats-1", "--out="+one.Path("bus"), one.Dir)
	startBus(t, one, busAt, "bus")
	one.startControl()
	two := second(t, one)
	orders := one.join("service/orders", one.must("join", "service/orders"), two.at)
	const name = "lidia-liddell"
	delivered := 0
	deliver := func() { // one message each, so that both controls take some
		t.Helper()
		for range 20 {
			delivered++
			e := &event.Event{
				Time: time.Now(), ID: fmt.Sprintf("event-%d", delivered), Side: event.SideInbound, Listener: "orders/inbound", Service: "orders", Allowed: true, Status: 200, Path: "/users/" + name,
				User: &event.User{Provider: "staff", Subject: name},
			}
			must(t, orders.Deliver(t.Context(), e.ID, append(event.AppendJSON(nil, e), '\n')))
		}
	}
	found := func(user string, want int) {
		t.Helper()
		for _, d := range []*daemon{one, two} {
			d.Eventually(fmt.Sprintf("%d are found", want), func() bool { return strings.Count(d.of(user), "\n") == want })
		}
	}
	deliver()
	found(name, 20)
	if r := one.verb("hold", "place", "case-1", "user:"+name, one.Dir); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	if r := two.verb("erase", name, "--yes", two.Dir); r.code != exitError || !strings.Contains(r.err, `"case-1"`) {
		t.Errorf("while it is held: %+v", r)
	}
	two.must("hold", "release", "case-1", two.Dir)
	pseudonym := two.erased(name)
	found(name, 0)
	found(pseudonym, 20)
	deliver()
	found(name, 20)
	found(pseudonym, 20)
	again := one.erased(name)
	if again == pseudonym {
		t.Error("who comes again has the same pseudonym")
	}
	one.Eventually("the ledger verifies", func() bool { return verb(t, nil, "audit", "verify", "--store=env:CONTROL_STORE").code == exitOK })
	if r := verb(t, nil, "audit", "export", "--store=env:CONTROL_STORE", "--out="+one.Path("export")); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	packed, err := gzip.NewReader(strings.NewReader(one.Read("export/records.ndjson.gz")))
	must(t, err)
	records, err := io.ReadAll(packed)
	must(t, err)
	if text := string(records); strings.Contains(text, name) || strings.Count(text, pseudonym) < 20 || strings.Count(text, again) < 20 {
		t.Errorf("exported are\n%s", text)
	}
	if rows := postgres.SQL(t, os.Getenv("CONTROL_STORE"), "SELECT who, object, convert_from(detail, 'UTF8') FROM acts"); strings.Contains(rows, name) {
		t.Errorf("acts:\n%s", rows)
	}
}

// TestPseudonymsAtRest: where nothing runs, what a process that was killed has left is kept without names and read with them, also what it had not kept yet.
func TestPseudonymsAtRest(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.Edit("palisade.yaml", "trust_domain:", "audit: {pseudonyms: true}\ntrust_domain:", "services:\n", "roles: {customer: {}}\nservices:\n", "allow: [{anyone: true, methods: [GET]}]}]\n  back:", "allow: [{roles: [customer], methods: [GET]}]}]\n  back:")
	u.startReady()
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	const name = "lidia-liddell"
	bearer := strings.TrimSpace(verb(t, nil, "token", "--as="+name, "--role=customer", u.Dir).out)
	for range 20 {
		if a := u.Do(u.Client(false), http.MethodGet, "/front", "", "Authorization: Bearer "+bearer); a.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", a.StatusCode, a.Text)
		}
	}
	state := u.Path(".palisade")
	u.Eventually("the events are recorded", func() bool {
		return strings.Count(verb(t, nil, "events", "-n0", "--format=json", "--user="+name, "--state="+state, "--model="+u.Dir).out, "\n") == 20
	})
	u.signal(syscall.SIGKILL)
	u.ends()
	for range 2 {
		r := verb(t, nil, "events", "-n0", "--format=json", "--user="+name, "--state="+state, "--model="+u.Dir)
		if r.code != exitOK || strings.Count(r.out, "\n") != 20 || strings.Count(r.out, `"uid":"`+name+`"`) != 20 {
			t.Fatalf("%d, %s\n%s", r.code, r.err, r.out)
		}
		if found := fleettest.Holding(t, filepath.Join(state, "archive"), name); found != "" {
			t.Errorf("the name is in %s", found)
		}
		must(t, os.RemoveAll(filepath.Join(state, "archive", "followed"))) // if it is there yet: all of the record comes again
	}
	if r := verb(t, nil, "erase", name, "--yes", u.Dir); r.code != exitError || !strings.Contains(r.err, "nobody answers") {
		t.Errorf("where nothing runs: %+v", r)
	}
}
