package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/palisade-security/palisade/token"
)

// TestServe asks a running shop for everything it has, through its gateway.
func TestServe(t *testing.T) {
	f := startFleet(t,
		"/, allow: [{anyone: true, methods: [GET]}]}", "/, cors: [\"https://partner.example\"], allow: [{anyone: true, methods: [GET, HEAD]}]}",
		"rate: 30/1m, burst: 10", "rate: 60/1m, burst: 100")
	t.Run("pages", f.pages)
	t.Run("cors", f.cors)
	t.Run("redirect", f.redirected)
	t.Run("order", f.order)
	t.Run("server-sent events", f.events)
	t.Run("websocket", f.websocket)
	t.Run("gRPC", f.grpc)
	t.Run("second factor", f.secondFactor)
}

func (f *fleet) pages(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		c := f.Client(h2)
		a := f.Do(c, "GET", "/", "")
		if a.StatusCode != 200 || !strings.Contains(a.Text, "Oak fence panel") {
			t.Errorf("%s: %d %s", a.Proto, a.StatusCode, a.Text)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin", "X-Frame-Options": "DENY"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if a.Header.Get("Ratelimit") == "" || a.Header.Get("Ratelimit-Policy") == "" || a.Header.Get("Server") != "" {
			t.Errorf("header %v", a.Header)
		}
		x := f.explained(t, a.ID(), true)
		if x.Event.Service != "web" || x.Event.Status != 200 || x.Event.TLSVersion != "1.3" {
			t.Errorf("event %+v", x.Event)
		}
		head := f.Do(c, "HEAD", "/", "")
		if head.StatusCode != 200 || head.Text != "" {
			t.Errorf("HEAD: %d, %d bytes", head.StatusCode, len(head.Text))
		}
		f.explained(t, head.ID(), true)
	}
}

func (f *fleet) cors(t *testing.T) {
	c := f.Client(true)
	a := f.Do(c, "OPTIONS", "/", "", "Origin: https://partner.example", "Access-Control-Request-Method: GET")
	if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != "https://partner.example" || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), "GET") {
		t.Errorf("preflight: %d %v", a.StatusCode, a.Header)
	}
	a = f.Do(c, "GET", "/", "", "Origin: https://partner.example")
	if a.Header.Get("Access-Control-Allow-Origin") != "https://partner.example" {
		t.Errorf("declared origin: %v", a.Header)
	}
	a = f.Do(c, "GET", "/", "", "Origin: https://evil.example")
	if a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("undeclared origin: %v", a.Header)
	}
	a = f.Do(c, "OPTIONS", "/", "", "Origin: https://evil.example", "Access-Control-Request-Method: GET")
	if a.StatusCode != 405 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of an undeclared origin: %d %v", a.StatusCode, a.Header)
	}
}

func (f *fleet) redirected(t *testing.T) {
	_, port, _ := net.SplitHostPort(f.redirect)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.redirect+"/orders?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "shop.localhost:" + port
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if a := f.Send(c, req); a.StatusCode != 308 || a.Header.Get("Location") != f.URL("/orders?x=1") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	req.Host = "evil.example"
	if a := f.Send(c, req); a.StatusCode != 404 || a.Header.Get("Location") != "" {
		t.Errorf("an undeclared host: %d %v", a.StatusCode, a.Header)
	}
}

func (f *fleet) order(t *testing.T) {
	bearer := "Authorization: Bearer " + f.token("user-1", token.Claims{}, "customer")
	for _, h2 := range []bool{false, true} {
		c := f.Client(h2)
		a := f.Do(c, "POST", "/orders", `{"product": 2, "count": 3}`, bearer, "Content-Type: application/json", "X-Palisade-Subject: user-2")
		var order struct {
			User    string
			Cents   int
			Receipt string
		}
		if err := json.Unmarshal([]byte(a.Text), &order); err != nil || a.StatusCode != 201 {
			t.Fatalf("%d %s", a.StatusCode, a.Text)
		}
		if order.User != "user-1" || order.Cents != 3750 || !strings.HasPrefix(order.Receipt, "R-") {
			t.Errorf("order %+v", order)
		}
	}
}

// events shows that every event arrives before the next one is caused.
func (f *fleet) events(t *testing.T) {
	bearer := "Authorization: Bearer " + f.token("user-1", token.Claims{}, "customer")
	for _, h2 := range []bool{false, true} {
		c := f.Client(h2)
		resp, err := c.Do(f.Request("GET", "/orders/events", "", bearer))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		next := func(want string) {
			t.Helper()
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), want) {
					return
				}
			}
			t.Fatalf("the stream ended before %q: %v", want, lines.Err())
		}
		next(": welcome")
		for range 3 {
			if a := f.Do(f.Client(true), "POST", "/orders", `{"product": 1, "count": 1}`, bearer, "Content-Type: application/json"); a.StatusCode != 201 {
				t.Fatalf("ordering: %d %s", a.StatusCode, a.Text)
			}
			next("event: order")
			next(`data: {"id":`)
		}
	}
}

func (f *fleet) dialLive(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(ctx, f.URL("/live"), &websocket.DialOptions{HTTPClient: f.Client(false), HTTPHeader: http.Header{"Origin": {"https://shop.localhost"}}})
}

func (f *fleet) websocket(t *testing.T) {
	conn, resp, err := f.dialLive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var got struct{ Visitors int }
		if err := wsjson.Read(t.Context(), conn, &got); err != nil || got.Visitors != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("closing: %v", err)
	}
	if x := f.explained(t, resp.Header.Get("X-Request-Id"), true); x.Event.Status != 101 || x.Event.BytesOut == 0 {
		t.Errorf("event of a tunnel: status %d, %d bytes", x.Event.Status, x.Event.BytesOut)
	}
}

// dialPay connects to the payments service through the edge.
func (f *fleet) dialPay(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///pay.shop.localhost:443", grpc.WithTransportCredentials(credentials.NewTLS(f.TLS())),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.Edge)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (f *fleet) grpc(t *testing.T) {
	conn := f.dialPay(t)
	call := func(bearer string, cents float64) (*structpb.Struct, metadata.MD, error) {
		in, err := structpb.NewStruct(map[string]any{"cents": cents})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if bearer != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+bearer)
		}
		var out structpb.Struct
		var header metadata.MD
		err = conn.Invoke(ctx, "/shop.payments.v1.Payments/Charge", in, &out, grpc.Header(&header))
		return &out, header, err
	}
	finance := f.token("money-1", token.Claims{}, "finance")
	out, header, err := call(finance, 100)
	if err != nil || !strings.HasPrefix(out.GetFields()["receipt"].GetStringValue(), "R-") {
		t.Errorf("charging: %v, %v\n%s", out, err, f.lines.String())
	}
	if ids := header.Get("x-request-id"); len(ids) == 1 {
		f.explained(t, ids[0], true)
	} else {
		t.Errorf("request ids %q", ids)
	}
	if _, _, err = call(finance, -1); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "cents must be positive") {
		t.Errorf("the service's own error: %v", err)
	}
	if _, _, err = call("", 100); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	if _, _, err = call(f.token("user-1", token.Claims{}, "customer"), 100); status.Code(err) != codes.PermissionDenied {
		t.Errorf("as a customer: %v", err)
	}
	if err = conn.Invoke(t.Context(), "/shop.payments.v1.Payments/Refund", &structpb.Struct{}, &structpb.Struct{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("an undeclared method: %v", err)
	}
}

func (f *fleet) secondFactor(t *testing.T) {
	c := f.Client(true)
	a := f.Do(c, "DELETE", "/orders/2", "", "Authorization: Bearer "+f.token("root-1", token.Claims{}, "admin"))
	if a.StatusCode != 403 {
		t.Errorf("without a second factor: %d", a.StatusCode)
	}
	x := f.explained(t, a.ID(), false)
	var policies []string
	for id, text := range x.Policies {
		policies = append(policies, id+": "+text)
	}
	if got := strings.Join(policies, "\n"); !strings.Contains(got, "cancel-needs-second-factor") || !strings.Contains(got, `principal.amr.contains("mfa")`) {
		t.Errorf("policies %s", got)
	}
	a = f.Do(c, "DELETE", "/orders/2", "", "Authorization: Bearer "+f.token("root-1", token.Claims{AMR: []string{"mfa"}}, "admin"))
	if a.StatusCode != 204 {
		t.Errorf("with a second factor: %d %s", a.StatusCode, a.Text)
	}
}

// slowBody gives its parts when told to.
type slowBody struct {
	parts chan string
	rest  string
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.rest == "" {
		part, ok := <-b.parts
		if !ok {
			return 0, io.EOF
		}
		b.rest = part
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
