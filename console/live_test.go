package console

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/topology"
)

// TestStream holds that events come as they happen, that one session has few streams, and that a stream ends with its session.
func TestStream(t *testing.T) {
	_, c := newShop(t)
	b := newBrowser(t, c)
	b.as(c, Viewer)
	open := func() *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+"/live/stream?q=side:edge", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	var all []*http.Response
	for range ofOne {
		all = append(all, open())
	}
	for _, r := range all {
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %s", r.StatusCode, r.Header.Get("Content-Type"))
		}
	}
	if r := open(); r.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one stream too many: %d", r.StatusCode)
	}
	if err := c.o.Events.(*events.Store).Append(t.Context(), eventtest.New(9, time.Now(), time.Microsecond).Take(20)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(all[0].Body)
	lines.Buffer(nil, 1<<20)
	rows := 0
	for rows == 0 && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: <tr ") {
			rows++
		}
	}
	if rows == 0 {
		t.Fatal("no event came: ", lines.Err())
	}
	c.door.leave(b.cookie())
	over := false
	for lines.Scan() {
		over = over || lines.Text() == "event: over"
	}
	if !over {
		t.Error("the stream does not say that the session is over")
	}
}

// TestFollower holds that each event comes once, and that of many the newest are sent and the others counted.
func TestFollower(t *testing.T) {
	_, c := newShop(t)
	now := time.Now()
	f := &follower{since: now.Add(-time.Hour), seen: map[string]time.Time{}}
	first, omitted, err := f.next(t.Context(), c.o.Events, now.Add(-time.Hour))
	if err != nil || len(first) != tickRows || omitted == 0 {
		t.Fatalf("%d events, %d omitted, %v", len(first), omitted, err)
	}
	again, omitted, err := f.next(t.Context(), c.o.Events, now.Add(-time.Hour))
	if err != nil || len(again) != 0 || omitted != 0 {
		t.Errorf("the same again: %d events, %d omitted, %v", len(again), omitted, err)
	}
	if _, _, err := f.next(t.Context(), c.o.Events, now.Add(time.Hour)); err != nil || len(f.seen) != 0 {
		t.Errorf("%d are remembered for ever, %v", len(f.seen), err)
	}
}

// TestLargeMap holds that a fleet of thousands is drawn as groups, that a group and a service open, and that each is found.
func TestLargeMap(t *testing.T) {
	m := manyServices(5000)
	part, about := focus(m, "", "", 1)
	if !about.Clustered || len(part.Nodes) > mostDrawn+1 || len(part.Edges) == 0 {
		t.Errorf("%d boxes of %d, %+v", len(part.Nodes), len(m.Nodes), about)
	}
	part, about = focus(m, "service-0042", "", 3)
	if about.Clustered || part.Node("service-0042") == nil || len(part.Nodes) > mostDrawn+1 || len(part.Nodes) < 3 {
		t.Errorf("around one: %d boxes", len(part.Nodes))
	}
	part, _ = focus(m, "", "team-7", 1)
	if part.Node("service-0007") == nil || len(part.Nodes) > mostDrawn {
		t.Errorf("one group: %d boxes", len(part.Nodes))
	}
	o := mapPage{Search: "SERVICE-4999"}
	if o.find(m); len(o.Found) != 1 || o.Services != 5000 {
		t.Errorf("%+v", o.Found)
	}
}

// TestNotYet holds what is shown while the store is being opened.
func TestNotYet(t *testing.T) {
	_, c := newShop(t)
	c.o.Events = closedStore{}
	b := newBrowser(t, c)
	b.as(c, Viewer)
	if a := b.do("GET", "/", ""); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Refresh") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// closedStore is one that is being opened.
type closedStore struct{ Events }

func (closedStore) Histogram(context.Context, query.Query, time.Duration, query.Field, int) (*query.Series, error) {
	return nil, ErrNotYet
}

// manyServices is a fleet of so many services of a hundred teams, each of which calls the next and another one.
func manyServices(n int) *topology.Map {
	m := &topology.Map{Format: topology.Format, Fleet: "large", Weights: map[string]float64{}, Nodes: []topology.Node{{Name: topology.EdgeNode, Kind: topology.KindEdge, Declared: true}}}
	name := func(i int) string { return fmt.Sprintf("service-%04d", i%n) }
	for i := range n {
		m.Nodes = append(m.Nodes, topology.Node{Name: name(i), Kind: topology.KindService, Declared: true, Owner: fmt.Sprintf("team-%d", i%100)})
		m.Edges = append(m.Edges, topology.Edge{From: name(i), To: name(i + 1), Kind: topology.Call, Declared: true}, topology.Edge{From: name(i), To: name(i*7 + 3), Kind: topology.Call, Declared: true})
	}
	slices.SortFunc(m.Edges, func(a, b topology.Edge) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return m
}
