package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/token"
)

// hotel is the fleet of gRPC services.
type hotel struct {
	*fleet
	ports map[string]string // host:port of each service, by name
}

// startHotel runs the hotel on free ports. Edits are pairs of old and new text of palisade.yaml.
func startHotel(t *testing.T, edits ...string) *hotel {
	t.Helper()
	h := &hotel{newExample(t, "hotel", "hotel.localhost"), map[string]string{}}
	free := porttest.Free(t, 8)
	h.Edge, h.admin = free[0], free[1]
	pairs := []string{"127.0.0.1:8543", h.Edge, "127.0.0.1:9309", h.admin, "rate: 300/1m, burst: 100", "rate: 1000000/1m, burst: 1000000"}
	for i, name := range []string{"front", "search", "geo", "rates", "profiles", "reservations"} {
		_, port, _ := net.SplitHostPort(free[2+i])
		h.ports[name] = free[2+i]
		pairs = append(pairs, ":930"+string(rune('0'+i)), ":"+port,
			"      build: [go, build, -o, .palisade/bin/, ./"+name+"]\n", "", ".palisade/bin/"+name, programs.hotel.Path(t, name))
	}
	h.Edit("palisade.yaml", append(edits, pairs...)...)
	h.start()
	return h
}

// TestHotel is a fleet that knows nothing of Palisade, behind its edge and its sidecars.
func TestHotel(t *testing.T) {
	h := startHotel(t)
	t.Run("start", h.listed)
	t.Run("find", h.find)
	t.Run("book", h.book)
	t.Run("grpc at the edge", h.change)
	t.Run("no way around", h.direct)
	t.Run("refused at the other end", h.past)
}

// listed holds that long names do not break the column of what is ready.
func (h *hotel) listed(t *testing.T) {
	columns := map[int]bool{}
	for line := range strings.Lines(h.Messages.String()) {
		if at := strings.Index(line, " ready on "); at >= 0 {
			columns[at] = true
		}
	}
	if len(columns) != 1 {
		t.Errorf("columns %v:\n%s", columns, &h.Messages)
	}
}

const stay = "arrive=2027-02-01&leave=2027-02-03"

// events are those recorded so far that pass.
func (h *hotel) events(pass func(*event.Event) bool) (out []*event.Event) {
	for rec, err := range journal.Read(h.Path(".palisade/events"), 0) {
		if err != nil {
			continue
		}
		if e, err := event.Parse(rec.Data); err == nil && pass(e) {
			out = append(out, e)
		}
	}
	return out
}

// records waits until a trace has n records, and returns them as "side caller path user", sorted.
func (h *hotel) records(t *testing.T, trace string, n int) (out []string) {
	t.Helper()
	h.Eventually("the records of a trace", func() bool {
		out = nil
		for _, e := range h.events(func(e *event.Event) bool { return e.TraceID == trace }) {
			user := "-"
			if e.User != nil {
				user = e.User.Subject
			}
			out = append(out, strings.Join([]string{e.Side.String(), strings.TrimPrefix(e.Workload, "spiffe://hotel.example/"), e.Path, user}, " "))
		}
		return len(out) >= n
	})
	slices.Sort(out)
	return out
}

// find walks a search through all services that have a part in it.
func (h *hotel) find(t *testing.T) {
	c := h.Client(true)
	for _, fields := range [][]string{nil, {"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}} {
		a := h.Do(c, "GET", "/hotels?lat=52.52&lon=13.4&"+stay, "", fields...)
		var rooms []struct {
			Hotel, Name string
			Cents       int64
		}
		if err := json.Unmarshal([]byte(a.Text), &rooms); err != nil || a.StatusCode != http.StatusOK || len(rooms) != 3 || rooms[0].Name != "The Bastion" || rooms[1].Cents != 19800 {
			t.Fatalf("%d %s", a.StatusCode, a.Text)
		}
		x := h.explained(t, a.ID(), true)
		if len(fields) > 0 && x.Event.TraceID != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("the client's trace is not continued: %s", x.Event.TraceID)
		}
		want := []string{
			"inbound edge/edge /hotels -",
			"inbound service/front /hotel.Profiles/Describe -", "inbound service/front /hotel.Reservations/Free -", "inbound service/front /hotel.Search/Find -",
			"inbound service/search /hotel.Geo/Nearby -", "inbound service/search /hotel.Rates/Quote -",
			"outbound service/front /hotel.Profiles/Describe -", "outbound service/front /hotel.Reservations/Free -", "outbound service/front /hotel.Search/Find -",
			"outbound service/search /hotel.Geo/Nearby -", "outbound service/search /hotel.Rates/Quote -",
			"unknown  /hotels -",
		}
		if got := h.records(t, x.Event.TraceID, len(want)); !slices.Equal(got, want) {
			t.Errorf("a search:\n%s", strings.Join(got, "\n"))
		}
	}
}

// book takes rooms as a guest, and as nobody.
func (h *hotel) book(t *testing.T) {
	c := h.Client(true)
	const body = `{"hotel": "moat", "arrive": "2027-02-01", "leave": "2027-02-03"}`
	const json = "Content-Type: application/json"
	if a := h.Do(c, "POST", "/bookings", body, json); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody books: %d %s", a.StatusCode, a.Text)
	}
	manager := "Authorization: Bearer " + h.token("max", token.Claims{}, "manager")
	if a := h.Do(c, "POST", "/bookings", body, json, manager); a.StatusCode != http.StatusForbidden {
		t.Errorf("a manager books: %d %s", a.StatusCode, a.Text)
	}
	guest := "Authorization: Bearer " + h.token("ann", token.Claims{}, "guest")
	a := h.Do(c, "POST", "/bookings", body, json, guest)
	if a.StatusCode != http.StatusCreated || !strings.Contains(a.Text, "B-0001") {
		t.Fatalf("booking: %d %s", a.StatusCode, a.Text)
	}
	want := []string{
		"inbound edge/edge /bookings ann", "inbound service/front /hotel.Reservations/Book ann", "inbound service/reservations /hotel.Rates/Quote -",
		"outbound service/front /hotel.Reservations/Book -", "outbound service/reservations /hotel.Rates/Quote -", "unknown  /bookings ann",
	}
	if got := h.records(t, h.explained(t, a.ID(), true).Event.TraceID, len(want)); !slices.Equal(got, want) {
		t.Errorf("a booking:\n%s", strings.Join(got, "\n"))
	}
	if a := h.Do(c, "GET", "/bookings", "", guest); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, "B-0001") {
		t.Errorf("ann's bookings: %d %s", a.StatusCode, a.Text)
	}
	bob := "Authorization: Bearer " + h.token("bob", token.Claims{}, "guest")
	if a := h.Do(c, "GET", "/bookings", "", bob); a.StatusCode != http.StatusOK || strings.Contains(a.Text, "B-0001") {
		t.Errorf("bob's bookings: %d %s", a.StatusCode, a.Text)
	}
	if a := h.Do(c, "POST", "/bookings", body, json, bob); a.StatusCode != http.StatusCreated {
		t.Errorf("the second room: %d %s", a.StatusCode, a.Text)
	}
	if a := h.Do(c, "POST", "/bookings", body, json, guest); a.StatusCode != http.StatusConflict {
		t.Errorf("a third room: %d %s", a.StatusCode, a.Text)
	}
}

// dial speaks gRPC over TLS, with a host.
func dial(t *testing.T, host string, config *tls.Config, connect func(context.Context) (net.Conn, error)) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return connect(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask calls a method with an empty message, and returns the id of its record.
func ask(ctx context.Context, conn *grpc.ClientConn, method string) (string, error) {
	var header, trailer metadata.MD
	err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
	for _, md := range []metadata.MD{header, trailer} {
		if ids := md.Get("x-request-id"); len(ids) > 0 {
			return ids[0], err
		}
	}
	return "", err
}

// change is a gRPC method that the edge lets managers call. An empty request names no hotel: the service has answered.
func (h *hotel) change(t *testing.T) {
	conn := dial(t, "rates.hotel.localhost:443", h.TLS(), func(ctx context.Context) (net.Conn, error) { return h.Dial(ctx, "", "") })
	for role, want := range map[string]codes.Code{"manager": codes.NotFound, "guest": codes.PermissionDenied} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+h.token("max", token.Claims{}, role))
		if _, err := ask(ctx, conn, "/hotel.Rates/Change"); status.Code(err) != want {
			t.Errorf("a %s changes a rate: %v", role, err)
		}
	}
}

// direct asks services at their own ports.
func (h *hotel) direct(t *testing.T) {
	for name, address := range h.ports {
		var d net.Dialer
		if c, err := d.DialContext(t.Context(), "tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s is reached at %s, past its sidecar", name, address)
		}
	}
}

// sidecar is where a service takes calls, as its callers have recorded.
func (h *hotel) sidecar(t *testing.T, service string) func(context.Context) (net.Conn, error) {
	t.Helper()
	calls := h.events(func(e *event.Event) bool {
		return e.Side == event.SideOutbound && e.Service == service && e.Upstream != ""
	})
	if len(calls) == 0 {
		t.Fatalf("nobody has called %s", service)
	}
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", calls[0].Upstream)
	}
}

// svid makes TLS of a service: it stands for one that was taken over and gets past its own sidecar. The authority
// that issues is a copy of the fleet's.
func (h *hotel) svid(t *testing.T, as, toward string) *tls.Config {
	t.Helper()
	dir := t.TempDir() + "/mesh"
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", h.Path(".palisade/mesh"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keeper, err := keyring.LocalKeeper(dir + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.OpenRing(t.Context(), dir+"/ring", keeper)
	if err != nil {
		t.Fatal(err)
	}
	a, err := authority.Open(t.Context(), authority.Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString("hotel.example"), Keys: ring,
		Store: authority.NewFileStore(dir + "/authority.json"), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	svid, err := a.SignX509(t.Context(), authority.X509Request{ID: spiffeid.RequireFromString(model.ServiceID("hotel.example", as)), Public: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := peer.NewTrust(a.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	var live peer.Live
	verifier := peer.NewVerifier(&live)
	verifier.SetTrust(trust)
	shown := &tls.Certificate{Certificate: svid.Chain, PrivateKey: key}
	return peer.ClientConfig(func() (*tls.Certificate, error) { return shown, nil }, verifier, peer.OneOf(spiffeid.RequireFromString(model.ServiceID("hotel.example", toward))))
}

// past asks sidecars directly: what is not declared is refused there too.
func (h *hotel) past(t *testing.T) {
	for _, c := range []struct {
		as, callee, host, method string
		want                     codes.Code
	}{
		{"search", "rates", "rates", "/hotel.Rates/Quote", codes.InvalidArgument}, // by the service: an empty request names no stay
		{"reservations", "rates", "rates", "/hotel.Rates/Quote", codes.InvalidArgument},
		{"search", "rates", "rates", "/hotel.Rates/Change", codes.PermissionDenied},
		{"search", "rates", "rates", "/hotel.Rates/Quote/", codes.PermissionDenied},
		{"search", "rates", "rates", "/hotel.Rates/Delete", codes.PermissionDenied},
		{"geo", "rates", "rates", "/hotel.Rates/Quote", codes.PermissionDenied},
		{"front", "rates", "rates", "/hotel.Rates/Quote", codes.PermissionDenied},
		{"search", "rates", "rates.hotel.localhost", "/hotel.Rates/Change", codes.PermissionDenied}, // as the edge asks
		{"search", "rates", "reservations", "/hotel.Reservations/Free", codes.PermissionDenied},
		{"front", "reservations", "reservations", "/hotel.Reservations/Free", codes.InvalidArgument},
		{"front", "reservations", "reservations", "/hotel.Reservations/Book", codes.PermissionDenied}, // not while serving a guest
	} {
		id, err := ask(t.Context(), dial(t, c.host, h.svid(t, c.as, c.callee), h.sidecar(t, c.callee)), c.method)
		if status.Code(err) != c.want {
			t.Errorf("%s asks %s%s: %v, want %s", c.as, c.host, c.method, err, c.want)
		}
		if id == "" {
			t.Errorf("%s asks %s%s: no request id", c.as, c.host, c.method)
			continue
		}
		e := h.explained(t, id, c.want != codes.PermissionDenied).Event
		if e.Side != event.SideInbound || e.Workload != model.ServiceID("hotel.example", c.as) || e.Path != c.method {
			t.Errorf("record of %s: %s %s %s", c.method, e.Side, e.Workload, e.Path)
		}
	}
	without := &tls.Config{InsecureSkipVerify: true}
	if _, err := ask(t.Context(), dial(t, "rates", without, h.sidecar(t, "rates")), "/hotel.Rates/Quote"); status.Code(err) != codes.Unavailable {
		t.Errorf("without an identity: %v", err)
	}
}

// TestUndeclaredCall: search asks what the model does not let it. Its own sidecar refuses, and the search goes on; once a
// call is declared, it passes, with nothing started anew.
func TestUndeclaredCall(t *testing.T) {
	const method, service = "/hotel.Rates/Change", "/hotel.Reservations/Free" // rates may be called, reservations not at all
	h := startHotel(t, "command: [.palisade/bin/search, ", `command: [.palisade/bin/search, "-probe=rates:9303`+method+",reservations:9305"+service+`", `)
	a := h.Do(h.Client(false), "GET", "/hotels?lat=52.52&lon=13.4&"+stay, "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Text, "bastion") {
		t.Errorf("%d %s", a.StatusCode, a.Text)
	}
	trace := h.explained(t, a.ID(), true).Event.TraceID
	hints := map[string]string{"rates": "services.rates.callers: [reservations, search]", "reservations": "add search to services.reservations.callers"}
	for path, callee := range map[string]string{method: "rates", service: "reservations"} {
		h.Says("probe " + path + ": rpc error: code = PermissionDenied")
		var refused []*event.Event
		h.Eventually("a record of the refusal", func() bool {
			refused = h.events(func(e *event.Event) bool { return e.TraceID == trace && e.Path == path && !e.Allowed })
			return len(refused) > 0
		})
		e := refused[0]
		if len(refused) != 1 || e.Side != event.SideOutbound || e.Workload != "spiffe://hotel.example/service/search" || e.Host != callee {
			t.Errorf("%d refusals, %s %s %s", len(refused), e.Side, e.Workload, e.Host)
		}
		var b strings.Builder
		h.explained(t, e.ID, false).Print(&b, observe.Style{})
		for _, want := range []string{"refused", "spiffe://hotel.example/service/search", "call-not-declared", hints[callee]} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("the explanation lacks %q:\n%s", want, &b)
			}
		}
	}

	h.Edit("palisade.yaml", "      - path: /hotel.Rates/Quote\n", "      - {path: /hotel.Rates/Change, methods: [POST], callers: [search]}\n      - path: /hotel.Rates/Quote\n")
	h.Eventually("the call is declared, and answered by the service", func() bool {
		h.Do(h.Client(true), "GET", "/hotels?lat=52.52&lon=13.4&"+stay, "")
		return strings.Contains(h.Messages.String(), "probe "+method+": rpc error: code = NotFound desc = no such hotel")
	})
}
