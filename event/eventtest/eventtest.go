// Package eventtest makes events like those of a fleet at work: an edge, sidecars on both sides of each call, users who come
// back, policies that refuse, probes, acts. It is for tests and benchmarks only.
package eventtest

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Fleet makes the same events for the same seed. It is not safe for concurrent use.
type Fleet struct {
	rand     *rand.Rand
	now      time.Time
	gap      time.Duration
	waiting  []*event.Event // records of a trace that are still to come
	snapshot string
}

// New returns a fleet whose events begin at a time and come at a mean distance.
func New(seed uint64, start time.Time, gap time.Duration) *Fleet {
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // events that can be made again
	return &Fleet{rand: r, now: start, gap: gap, snapshot: hexOf(r, 32)}
}

type route struct {
	service, method, template string
	weight                    int
	calls                     []int // routes of services behind it
}

// routes is a constant table.
var routes = []route{
	{"web", "GET", "/", 20, nil},
	{"items", "GET", "/items", 20, nil},
	{"items", "GET", "/items/{id}", 40, []int{8}},
	{"orders", "GET", "/orders", 15, nil},
	{"orders", "GET", "/orders/{id}", 20, nil},
	{"orders", "POST", "/orders", 8, []int{7, 8}},
	{"orders", "DELETE", "/orders/{id}", 3, nil},
	{"payments", "POST", "/charges", 2, nil},
	{"stock", "POST", "/stock/{id}/reserve", 2, nil},
	{"users", "GET", "/users/{id}/profile", 10, nil},
}

var agents = []string{ // a constant table
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
	"okhttp/5.3.0", "curl/8.15.0", "python-requests/2.32.5",
}

// Next returns the next event. It is the caller's.
func (f *Fleet) Next() *event.Event {
	if len(f.waiting) == 0 {
		f.trace()
	}
	e := f.waiting[0]
	f.waiting = f.waiting[1:]
	return e
}

// trace makes the records of one request at the edge and of all that it causes, in the order in which they are written:
// those of the innermost calls end first.
func (f *Fleet) trace() {
	f.now = f.now.Add(time.Duration(f.rand.ExpFloat64() * float64(f.gap) * 2.6)) // records of one trace
	switch n := f.rand.IntN(1000); {
	case n < 2:
		f.waiting = append(f.waiting, f.act())
		return
	case n < 12:
		f.waiting = append(f.waiting, f.connection())
		return
	}
	e := f.base(f.now)
	e.TraceID = hexOf(f.rand, 16)
	e.Listener, e.Scheme, e.Host, e.Proto = "public", "https", "shop.example", "HTTP/2.0"
	user := f.rand.IntN(5000) * f.rand.IntN(1000) / 1000 // few come often
	e.Client = fmt.Sprintf("203.0.%d.%d", user>>8, user&255)
	e.ClientPort, e.Peer = 32768+f.rand.IntN(28000), e.Client
	e.UserAgent = agents[user%len(agents)]
	e.TLSVersion, e.TLSCipher, e.TLSGroup, e.TLSServer = "1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "shop.example"
	if f.rand.IntN(40) == 0 {
		f.probe(e)
		f.waiting = append(f.waiting, e)
		return
	}
	at := f.pick()
	f.ask(e, &routes[at])
	if routes[at].service != "web" {
		e.User = &event.User{
			Provider: "keycloak", Issuer: "https://id.shop.example/realms/shop", Subject: "user-" + strconv.Itoa(user), ClientID: "shop-web",
			Roles: []string{"customer"}, TokenID: fmt.Sprintf("%08x-%04x-4%03x-9abc-%012x", user*2654435761, user, f.now.Hour(), user*7919),
		}
	}
	f.decide(e, &routes[at])
	if e.Allowed {
		f.hops(e, &routes[at])
	}
	f.waiting = append(f.waiting, e)
}

func (f *Fleet) base(at time.Time) *event.Event {
	return &event.Event{Time: at, ID: f.id(at), Fleet: "shop", Snapshot: f.snapshot, SpanID: hexOf(f.rand, 8)}
}

// id is a UUIDv7 from this fleet's chance.
func (f *Fleet) id(at time.Time) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", ms>>16, ms&0xffff, f.rand.IntN(1<<12), 0x8000|f.rand.IntN(1<<14), f.rand.Uint64()>>16)
}

func hexOf(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)
}

func (f *Fleet) pick() int {
	total := 0
	for i := range routes {
		total += routes[i].weight
	}
	n := f.rand.IntN(total)
	for i := range routes {
		if n -= routes[i].weight; n < 0 {
			return i
		}
	}
	return 0
}

// ask makes e a request for a route.
func (f *Fleet) ask(e *event.Event, r *route) {
	e.Method, e.Template, e.Service = r.method, r.template, r.service
	e.Route = r.service + " " + "shop.example" + r.template
	e.Path = r.template
	for i := range len(e.Path) {
		if e.Path[i] == '{' {
			e.Path = e.Path[:i] + strconv.Itoa(1000+f.rand.IntN(20_000)) + e.Path[i+len("{id}"):]
			break
		}
	}
	if r.method == "GET" && f.rand.IntN(5) == 0 {
		e.Query = "page=" + strconv.Itoa(f.rand.IntN(20)) + "&sort=date"
	}
	if r.method == "POST" {
		e.BytesIn = 200 + int64(f.rand.IntN(800))
	}
}

// about is a time near d, now and then much longer.
func (f *Fleet) about(d time.Duration) time.Duration {
	return time.Duration(float64(d) * math.Exp(f.rand.NormFloat64()*0.4))
}

func (f *Fleet) stage(name string, took time.Duration, reasons ...event.Reason) event.Stage {
	return event.Stage{Name: name, Outcome: event.OutcomePass, Took: f.about(took), Reasons: reasons}
}

// decide lets most requests pass.
func (f *Fleet) decide(e *event.Event, r *route) {
	grant := "grant:" + e.Route + "#0"
	e.Trail = []event.Stage{
		f.stage(event.StageCanonicalise, 2*time.Microsecond), f.stage(event.StageRoute, time.Microsecond),
		f.stage(event.StageAuthenticate, 3*time.Microsecond),
		f.stage(event.StageAuthorise, 4*time.Microsecond, event.Reason{Code: "permit", Text: "a policy permits this", Policy: grant, Position: "/etc/palisade/palisade.yaml:" + strconv.Itoa(14+len(r.template)) + ":61"}),
		f.stage(event.StageInspect, 40*time.Microsecond),
	}
	e.Allowed, e.Status = true, 200
	switch n := f.rand.IntN(100); {
	case n < 3:
		e.Allowed, e.Status, e.Problem = false, 403, "denied"
		e.Trail = e.Trail[:4]
		e.Trail[3].Outcome = event.OutcomeDeny
		e.Trail[3].Reasons = []event.Reason{{Code: "no-permit", Text: "no policy permits this", Data: map[string]string{"owner": "user-" + strconv.Itoa(f.rand.IntN(5000))}}}
		e.Took = f.about(15 * time.Microsecond)
		return
	case n < 4:
		e.Allowed, e.Status, e.Problem = false, 429, "too-many-requests"
		e.Trail = e.Trail[:3]
		e.Trail[2] = event.Stage{Name: event.StageLimitAddress, Outcome: event.OutcomeDeny, Took: f.about(time.Microsecond), Reasons: []event.Reason{{Code: "limit-exceeded", Text: "more than 100 requests a minute"}}}
		e.Took = f.about(10 * time.Microsecond)
		return
	case n < 5:
		e.Status = 404
	case n < 6:
		e.Status = 500 + f.rand.IntN(4)
	}
	e.BytesOut = 100 + int64(f.rand.IntN(4000))
	e.UpstreamTook = f.about(3 * time.Millisecond)
	e.Took = e.UpstreamTook + f.about(60*time.Microsecond)
	e.Trail = append(e.Trail, f.stage(event.StageForward, 0))
	e.Trail[len(e.Trail)-1].Took = e.UpstreamTook + f.about(5*time.Microsecond)
	e.Upstream, e.UpstreamStatus, e.UpstreamReused, e.Attempts = "10.1.0."+strconv.Itoa(len(r.service))+":8443", e.Status, f.rand.IntN(50) > 0, 1
}

// hops makes the records of the sidecar of the service and of what it calls.
func (f *Fleet) hops(e *event.Event, r *route) {
	f.hop(e, r, event.SideInbound, "edge")
	for _, at := range r.calls {
		f.hop(e, &routes[at], event.SideInbound, r.service)
		f.hop(e, &routes[at], event.SideOutbound, r.service)
	}
}

func (f *Fleet) hop(of *event.Event, r *route, side event.Side, caller string) {
	at := of.Time.Add(f.about(300 * time.Microsecond))
	e := f.base(at)
	e.TraceID, e.User, e.Side = of.TraceID, of.User, side
	e.Listener, e.Scheme, e.Proto = r.service+"/"+side.String(), "https", "HTTP/1.1"
	e.Workload = "spiffe://shop.example/service/" + caller
	e.Client = "10.1.0." + strconv.Itoa(len(caller))
	e.ClientPort = 32768 + f.rand.IntN(28000)
	e.Peer = e.Client
	e.TLSVersion, e.TLSCipher, e.TLSGroup = "1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"
	f.ask(e, r)
	if r.service == of.Service {
		e.Path, e.Query = of.Path, of.Query
	}
	e.Host = r.service + ".shop.internal"
	f.decide(e, r)
	f.waiting = append(f.waiting, e)
}

// probe makes e one of those requests that no service of the fleet has.
func (f *Fleet) probe(e *event.Event) {
	e.Method = "GET"
	e.Path = []string{"/.env", "/wp-login.php", "/.git/config", "/admin/", "/actuator/env"}[f.rand.IntN(5)]
	e.Status, e.Problem, e.Took = 404, "no-route", f.about(8*time.Microsecond)
	e.Trail = []event.Stage{f.stage(event.StageCanonicalise, 2*time.Microsecond), {
		Name: event.StageRoute, Outcome: event.OutcomeDeny, Took: f.about(time.Microsecond),
		Reasons: []event.Reason{{Code: "no-route", Text: "no route of this host has the path"}},
	}}
}

func (f *Fleet) connection() *event.Event {
	e := f.base(f.now)
	e.SpanID = ""
	e.Connection = &event.Connection{Side: event.SideOutbound, Protocol: "tcp"}
	e.Service, e.Workload, e.Host, e.Listener = "database", "spiffe://shop.example/service/orders", "database:5432", "orders/outbound"
	e.Client, e.ClientPort, e.Peer, e.Allowed = "127.0.0.1", 32768+f.rand.IntN(28000), "127.0.0.1", true
	e.BytesIn, e.BytesOut, e.Took = int64(f.rand.IntN(1<<20)), int64(f.rand.IntN(1<<22)), f.about(time.Minute)
	e.Upstream, e.Attempts = "10.1.0.40:8443", 1
	e.Trail = []event.Stage{f.stage(event.StageAuthorise, 5*time.Microsecond, event.Reason{Code: "declared", Text: "the model declares this call"}), f.stage(event.StageForward, time.Minute)}
	return e
}

func (f *Fleet) act() *event.Event {
	e := &event.Event{Time: f.now, ID: f.id(f.now), Fleet: "shop", Snapshot: f.snapshot, Allowed: true}
	switch f.rand.IntN(3) {
	case 0:
		e.Act = &event.Act{Kind: event.KindApplied, Who: "alice", Role: "operator", Object: "model/" + f.snapshot[:12], Outcome: event.Done, Proxy: "control"}
		e.Client = "198.51.100.7"
	case 1:
		e.Act = &event.Act{Kind: event.KindEnrolled, Who: "spiffe://shop.example/service/items", Outcome: event.Done, Proxy: "control", Text: "attested by unix user"}
	default:
		e.Allowed = false
		e.Act = &event.Act{Kind: event.KindRefused, Who: "spiffe://shop.example/service/web", Outcome: event.Denied, Reason: "revoked", Proxy: "payments", Omitted: int64(f.rand.IntN(9))}
		e.Client, e.ClientPort = "10.1.0.3", 40000+f.rand.IntN(1000)
	}
	return e
}

// Take returns the next n events.
func (f *Fleet) Take(n int) []*event.Event {
	out := make([]*event.Event, n)
	for i := range out {
		out[i] = f.Next()
	}
	return out
}
