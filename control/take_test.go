package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
)

// TestCredible holds what a proxy may say that it saw.
func TestCredible(t *testing.T) {
	now := time.Now()
	orders, edge := model.ServiceID(domain, "orders"), model.EdgeID(domain)
	asked := func(change func(*event.Event)) *event.Event {
		e := &event.Event{Time: now, Side: event.SideInbound, Listener: "orders/inbound", Service: "orders", Workload: model.ServiceID(domain, "web")}
		change(e)
		return e
	}
	act := func(a event.Act) *event.Event { return &event.Event{Time: now, Act: &a} }
	for name, c := range map[string]struct {
		id   string
		e    *event.Event
		want string // of the reason; empty: none
	}{
		"asked":                  {orders, asked(func(*event.Event) {}), ""},
		"asks":                   {orders, asked(func(e *event.Event) { e.Side, e.Service, e.Workload = event.SideOutbound, "payments", orders }), ""},
		"asks outside":           {orders, asked(func(e *event.Event) { e.Side, e.Service, e.Workload = event.SideEgress, "", "" }), ""},
		"connection":             {orders, asked(func(e *event.Event) { e.Side, e.Connection = 0, &event.Connection{Side: event.SideInbound} }), ""},
		"own act":                {orders, act(event.Act{Kind: event.KindRefused, Proxy: "orders", Who: model.ServiceID(domain, "web")}), ""},
		"own log":                {orders, &event.Event{Time: now, Log: &event.Log{}, Service: "orders"}, ""},
		"edge":                   {edge, &event.Event{Time: now, Service: "web", Listener: "main"}, ""},
		"edge's act":             {edge, act(event.Act{Kind: event.KindTook, Proxy: "edge"}), ""},
		"of another sidecar":     {orders, asked(func(e *event.Event) { e.Listener = "payments/inbound" }), `sidecar of "payments"`},
		"of another service":     {orders, asked(func(e *event.Event) { e.Service = "payments" }), `asked of "payments"`},
		"asked by another":       {orders, asked(func(e *event.Event) { e.Side, e.Workload = event.SideOutbound, edge }), "asked by"},
		"of the edge":            {orders, &event.Event{Time: now, Service: "orders", Listener: "orders/inbound"}, "no edge"},
		"of a sidecar":           {edge, asked(func(*event.Event) {}), "within the mesh"},
		"another's act":          {orders, act(event.Act{Kind: event.KindRefused, Proxy: "edge"}), "an act that"},
		"an administrator's act": {orders, act(event.Act{Kind: event.KindRevoked, Proxy: "orders"}), "act of control"},
		"with a role":            {orders, act(event.Act{Kind: event.KindOther, Proxy: "orders", Role: "admin"}), "administrator"},
		"another's log":          {orders, &event.Event{Time: now, Log: &event.Log{}, Service: "web"}, "log record"},
		"log at the edge":        {edge, &event.Event{Time: now, Log: &event.Log{}, Service: "web"}, ""},
		"of tomorrow":            {orders, asked(func(e *event.Event) { e.Time = now.Add(25 * time.Hour) }), "future"},
		"of no proxy":            {model.ControlID(domain), act(event.Act{Proxy: "control"}), "no proxy"},
		"of another domain":      {"spiffe://other.example/service/orders", asked(func(*event.Event) {}), "no proxy"},
	} {
		err := control.Credible(domain, c.id, c.e, now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// shelf keeps events in memory, and fails as long as it is told to.
type shelf struct {
	mu    sync.Mutex
	fails int
	all   query.Reference
}

func (s *shelf) keep(_ context.Context, events []*event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return errors.New("the disk is full")
	}
	s.all = append(s.all, events...)
	return nil
}

func (s *shelf) ids() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.all {
		out = append(out, e.ID)
	}
	slices.Sort(out)
	return out
}

func (s *shelf) now() query.Reference {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *shelf) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	return s.now().Last(ctx, q, n, from)
}

func (s *shelf) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	return s.now().Count(ctx, q, by, top)
}

func (s *shelf) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	return s.now().Histogram(ctx, q, step, by, top)
}

// TestTakeEvents: what proxies deliver is kept, also when keeping fails for a while and when control is away; what they cannot have
// made is refused, and that is an event; administrators find it.
func TestTakeEvents(t *testing.T) {
	kept := &shelf{fails: 2}
	s := newSite(t, compile(t, shop), func(o *control.Options) { o.Keep, o.Events = kept.keep, kept })
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	line := func(n int, service string) []byte {
		return append(event.AppendJSON(nil, &event.Event{
			Time: time.Now(), ID: fmt.Sprint("id-", n), Side: event.SideInbound, Listener: service + "/inbound", Service: service, Allowed: true, Status: 200,
		}), '\n')
	}
	must(t, orders.Deliver(soon(t), "batch-1", append(line(1, "orders"), line(2, "orders")...)))
	must(t, orders.Deliver(soon(t), "batch-2", append(append(line(3, "orders"), line(4, "payments")...), "no event\n"...)))
	eventually(t, "events are kept", func() bool { return slices.Equal(kept.ids(), []string{"id-1", "id-2", "id-3"}) })
	eventually(t, "refused events are told", func() bool { return len(s.saw("events-refused")) == 1 })
	if e := s.saw("events-refused")[0]; e.Who != orders.ID().String() || e.Object != "2 events" || !strings.Contains(e.Text, "payments") {
		t.Errorf("%+v", e)
	}
	if n := c.Count(); n.Kept != 3 || n.Forged != 2 {
		t.Errorf("counted %d, %d", n.Kept, n.Forged)
	}
	s.stop()
	kept.mu.Lock()
	kept.fails = 1
	kept.mu.Unlock()
	delivered := make(chan error, 1)
	ctx := soon(t)
	go func() {
		for {
			err := orders.Deliver(ctx, "batch-3", line(5, "orders"))
			if err == nil || ctx.Err() != nil {
				delivered <- err
				return
			}
		}
	}()
	s.start()
	must(t, <-delivered)
	eventually(t, "the event is kept", func() bool { return len(kept.ids()) == 4 })

	a := admin.Local(s.socket())
	defer a.Close()
	where, err := query.Parse("service:orders status:200")
	must(t, err)
	page, err := a.Last(t.Context(), query.Query{Where: where}, 3, query.Cursor{})
	if err != nil || len(page.Events) != 3 || page.Events[0].ID != "id-5" || page.Next.IsZero() {
		t.Fatalf("%+v, %v", page, err)
	}
	rest, err := a.Last(t.Context(), query.Query{Where: where}, 3, page.Next)
	if err != nil || len(rest.Events) != 1 || rest.Events[0].ID != "id-1" || !rest.Next.IsZero() {
		t.Errorf("the next page: %+v, %v", rest, err)
	}
	counts, err := a.Count(t.Context(), query.Query{}, query.Service, 3)
	if want, _ := kept.Count(t.Context(), query.Query{}, query.Service, 3); err != nil || string(encode(t, counts)) != string(encode(t, want)) {
		t.Errorf("%+v, expected %+v: %v", counts, want, err)
	}
	q := query.Query{From: time.Now().Add(-time.Hour), To: time.Now()}
	series, err := a.Histogram(t.Context(), q, time.Minute, query.Status, 3)
	if want, _ := kept.Histogram(t.Context(), q, time.Minute, query.Status, 3); err != nil || string(encode(t, series)) != string(encode(t, want)) {
		t.Errorf("%+v, expected %+v: %v", series, want, err)
	}
	var problem *admin.Problem
	if _, err := a.Count(t.Context(), query.Query{}, query.Time, 3); !errors.As(err, &problem) || problem.Status != 400 {
		t.Errorf("counted by time: %v", err)
	}
	if _, err := json.Marshal(problem); err != nil {
		t.Error(err)
	}
}

// TestDeliverAsAnother: the bus takes events under the subject of the sender alone.
func TestDeliverAsAnother(t *testing.T) {
	kept := new(shelf)
	s := newSite(t, compile(t, shop), func(o *control.Options) { o.Keep = kept.keep })
	s.start()
	orders := join(t, s, "service/orders", nil)
	config := peer.ClientConfig(orders.Certificate, orders.Verifier(), peer.AnyIn(orders.ID().TrustDomain()))
	link, err := bus.Connect(soon(t), bus.Options{Name: "x", URLs: []string{"tls://" + s.busAt}, TLS: config, ID: orders.ID().String(), Log: testLog(t)})
	must(t, err)
	defer link.Close(soon(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	subject := wire.EventsSubject + bus.SubjectToken(model.ServiceID(domain, "web"))
	if _, err := link.Publish(ctx, bus.Message{Subject: subject, Data: []byte("{}\n")}); err == nil {
		t.Error("orders has delivered events of web")
	}
	if _, err := link.Publish(soon(t), bus.Message{Subject: wire.EventsSubject + bus.SubjectToken(orders.ID().String()), Data: []byte("{}\n")}); err != nil {
		t.Errorf("its own are not taken: %v", err)
	}
	if ids := kept.ids(); len(ids) != 0 {
		t.Errorf("kept %q", ids)
	}
}

// TestDeliverFlood: one proxy that delivers more than is kept, or more at once than it may, leaves room for others.
func TestDeliverFlood(t *testing.T) {
	kept := &shelf{fails: 1 << 30}
	s := newSite(t, compile(t, shop), func(o *control.Options) { o.Keep, o.Bus.Events = kept.keep, 20<<20 }) // two messages of one identity
	s.start()
	orders, web := join(t, s, "service/orders", nil), join(t, s, "service/web", nil)
	deliver := func(p *proxy, service string, n, size int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		e := &event.Event{Time: time.Now(), ID: fmt.Sprint(service, "-", n), Side: event.SideInbound, Listener: service + "/inbound", Service: service, Allowed: true, Status: 200}
		line := append(event.AppendJSON(nil, e), '\n')
		return p.Deliver(ctx, fmt.Sprint("batch-", n), append(line, bytes.Repeat([]byte("x"), max(size-len(line), 0))...))
	}
	eventually(t, "the bus takes what is as large as may be", func() bool { return deliver(orders, "orders", 1, wire.MaxEvent) == nil })
	if err := deliver(orders, "orders", 2, wire.MaxEvent+8<<10); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("what is larger: %v", err)
	}
	must(t, deliver(orders, "orders", 3, 0))
	if err := deliver(orders, "orders", 4, 0); err == nil {
		t.Error("it fills the bus")
	}
	if err := deliver(web, "web", 5, 0); err != nil {
		t.Errorf("another cannot deliver: %v", err)
	}
	kept.mu.Lock()
	kept.fails = 0
	kept.mu.Unlock()
	eventually(t, "all is kept", func() bool { return slices.Equal(kept.ids(), []string{"orders-1", "orders-3", "web-5"}) })
}
