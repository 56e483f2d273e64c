package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// all asks for what was written before forwarding, too.
const all = "kind:open or -kind:open"

// kept are the keys of the events that a verb prints, with how often each is there.
func kept(t *testing.T, lines string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(lines) {
		e, err := event.Parse([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		out[query.Key(e)]++
	}
	return out
}

// recordedIn are the keys of the events in a journal.
func recordedIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for rec, err := range journal.Read(dir, 0) {
		if err != nil {
			t.Error(err)
			continue
		}
		e, err := event.Parse(rec.Data)
		if err != nil {
			t.Error(err)
			continue
		}
		out = append(out, query.Key(e))
	}
	return out
}

// TestMemoryOfUp: what up records is found while it runs, after kill -9, and once.
func TestMemoryOfUp(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	id := ""
	for range 20 {
		resp, err := u.Client(false).Do(u.Request(http.MethodGet, "/front", ""))
		must(t, err)
		must(t, resp.Body.Close())
		id = resp.Header.Get("X-Request-Id")
	}
	ask := func(want string, args ...string) {
		t.Helper()
		u.Eventually(fmt.Sprintf("%q says %q", args, want), func() bool {
			out, code := u.palisade(args...)
			return code == exitOK && strings.Contains(out, want)
		})
	}
	ask("20 events", "events", "--count", "path", "service:front status:200")
	ask("/front", "events", "--count", "path", "--per", "1m", "--format", "csv", "outcome:allowed")
	ask("front", "events", "--format=table", "-n1")
	ask("/front", "explain", id[:20])
	u.signal(syscall.SIGKILL)
	u.ends()
	ask("20 events", "events", "--count", "path", "service:front status:200")
	if out, code := u.palisade("events", "servce:front"); code != exitError || !strings.Contains(out, "^") {
		t.Errorf("a mistake in a query: %d\n%s", code, out)
	}
	u.startReady()
	out := kept(t, verb(t, nil, "events", all, "-n0", "--format=json", "--state="+u.Path(".palisade"), "--model="+u.Dir).out)
	for _, key := range recordedIn(t, u.Path(".palisade/events")) {
		if out[key] != 1 {
			t.Errorf("%s is there %d times", key, out[key])
		}
	}
	seen := verb(t, nil, "map", u.Dir, "--from="+u.Path(".palisade"), "--since=1h", "--format=json")
	before := verb(t, nil, "map", u.Dir, "--from="+u.Path(".palisade"), "--until=1h")
	if !strings.Contains(seen.out, `"calls": 20`) || !strings.Contains(before.err, "no event of a request") {
		t.Errorf("maps:\n%s\n%s", seen.out, before.err)
	}
	keptMap(t, u)
}

// keptMap wants what was seen before a process was killed in the map that is kept, once, whether somebody runs or not.
func keptMap(t *testing.T, u *up) {
	t.Helper()
	state := "--from=" + u.Path(".palisade")
	asked := func(a ...string) result { return verb(t, nil, append([]string{"map"}, a...)...) }
	u.Eventually("the map is kept", func() bool {
		return strings.Contains(asked("--at=now", state, "--format=json").out, `"calls": 20`)
	})
	for _, of := range []string{state, u.Dir} {
		if r := asked("diff", "now", u.Dir, of); strings.Contains(r.out, "declared") || r.code == exitError {
			t.Errorf("what was in force is not what is declared: %d %s\n%s", r.code, r.err, r.out)
		}
	}
	u.signal(syscall.SIGTERM)
	u.ends()
	if r := asked("blast", "front", "--at=now", state); r.code != 0 || !strings.Contains(r.out, "front taken") {
		t.Errorf("a taken service on the kept map: %d %s\n%s", r.code, r.err, r.out)
	}
	if r := asked("--at=2026-01-01", state); r.code != exitError || !strings.Contains(r.err, "no map is kept of the time from 2026-01-01 00:00:00") {
		t.Errorf("the map of a time before all: %d %s\n%s", r.code, r.err, r.out)
	}
	if r := asked("--at=now", "--since=1h", state); r.code != exitError || !strings.Contains(r.err, "leave out one of them") {
		t.Errorf("--at and --since: %s", r.err)
	}
}

// TestMemoryOfFleet: what proxies record comes to control, through kill -9 of all of them, once each.
func TestMemoryOfFleet(t *testing.T) {
	h := newHosts(t, "")
	h.gets("/call", http.StatusOK, "hello /x")
	stop, done := make(chan struct{}), sync.WaitGroup{}
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if resp, err := h.edge.Client(false).Do(h.edge.Request(http.MethodGet, "/call", "")); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	stopped := sync.OnceFunc(func() { close(stop); done.Wait() })
	defer stopped()
	for range 2 {
		h.control.kill()
		h.orders.kill()
		h.orders.start(h.verb(h.orders, "sidecar", "--service=orders", "--listen="+h.ordersAt, "--audit-dir="+h.orders.Path("records"))...)
		h.gets("/call", http.StatusOK, "hello /x")
		h.control.start("control", h.control.Dir)
		h.edge.kill()
		h.edge.start(h.verb(h.edge, "edge", "-q")...)
		h.edge.Says("serves https://web.localhost")
		h.gets("/call", http.StatusOK, "hello /x")
	}
	stopped()
	resp, err := h.edge.Client(false).Do(h.edge.Request(http.MethodGet, "/call", ""))
	must(t, err)
	must(t, resp.Body.Close())

	folders := []string{h.edge.Path(".palisade/events"), h.orders.Path("records"), h.web.Path(".palisade/events"), h.cache.Path(".palisade/events"), h.control.Path(".palisade/events")}
	missing := ""
	h.control.Eventually("all is kept", func() bool {
		r := verb(t, nil, "events", all, "-n0", "--format=json", h.control.state())
		if r.code != exitOK {
			return false
		}
		there := kept(t, r.out)
		for key, n := range there {
			if n != 1 {
				t.Errorf("%s is there %d times", key, n)
			}
		}
		for _, dir := range folders {
			for _, key := range recordedIn(t, dir) {
				if there[key] == 0 {
					missing = filepath.Base(filepath.Dir(dir)) + " " + key
					return false
				}
			}
		}
		t.Logf("%d events", len(there))
		return true
	})
	if t.Failed() {
		t.Log("missing: ", missing)
	}
	h.explained(t, resp.Header.Get("X-Request-Id"))
	h.control.Eventually("control keeps the map", func() bool {
		out := verb(t, nil, "map", h.control.Dir, "--at=now", "--from="+h.control.Path(".palisade")).out
		return strings.Contains(out, "grant:mesh:orders:/**#0") && !strings.Contains(out, "as declared")
	})
}

// explained shows the way of one request through four proxies.
func (h *hosts) explained(t *testing.T, id string) {
	r := verb(t, nil, "explain", id, h.control.state(), h.control.Dir)
	for _, want := range []string{"Its way through the fleet", "edge → web", "└─✓ web, asked by edge", "└─✓ web asks orders", "└─✓ orders, asked by web", "authorise"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the explanation does not say %q:\n%s%s", want, r.out, r.err)
		}
	}
	var x struct {
		Hops []struct {
			Children []struct {
				Children []struct{ Children []json.RawMessage }
			}
		}
	}
	r = verb(t, nil, "explain", id, "--format=json", h.control.state(), h.control.Dir)
	if err := json.Unmarshal([]byte(r.out), &x); err != nil || len(x.Hops) != 1 || len(x.Hops[0].Children) != 1 || len(x.Hops[0].Children[0].Children[0].Children) != 1 {
		t.Errorf("%v\n%s", err, r.out)
	}
	r = verb(t, nil, "map", h.control.Dir, "--from="+h.control.Path(".palisade"), "--since=1h", "--format=json")
	if r.code != exitOK || !strings.Contains(r.out, `"from": "web"`) {
		t.Errorf("the map: %s\n%s", r.err, r.out)
	}
}
