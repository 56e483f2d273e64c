package engine_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
)

func TestCookiesHardened(t *testing.T) {
	given := ""
	h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", given) }), []*engine.Route{plain("/a")}, nil)
	for in, want := range map[string]string{
		"sid=1": "sid=1; Secure; HttpOnly; SameSite=Lax",
		"sid=1; Path=/secure; Domain=httponly.samesite.test": "sid=1; Path=/secure; Domain=httponly.samesite.test; Secure; HttpOnly; SameSite=Lax",
		"sid=1; insecure; xHttpOnly":                         "sid=1; insecure; xHttpOnly; Secure; HttpOnly; SameSite=Lax",
		"sid=1;secure;HTTPONLY ; SameSite = None":            "sid=1;secure;HTTPONLY ; SameSite = None",
		"sid=Secure": "sid=Secure; Secure; HttpOnly; SameSite=Lax",
		"csrf=1":     "csrf=1; Secure; SameSite=Lax",
	} {
		given = in
		if resp, _ := h.get(t, "/a"); resp.Header.Get("Set-Cookie") != want {
			t.Errorf("%q: got %q", in, resp.Header.Get("Set-Cookie"))
		}
	}
}

// TestRefusalToGRPC holds that only who can read gRPC's status gets a refusal as HTTP 200.
func TestRefusalToGRPC(t *testing.T) {
	r := plain("/denied")
	r.Steps = []engine.Step{{Filter: proxy.FilterFunc(func(context.Context, *proxy.Request) error {
		return &proxy.Denial{Kind: proxy.KindForbidden}
	})}}
	h := newHouse(t, http.NotFoundHandler(), []*engine.Route{r}, nil)
	for _, c := range []struct {
		method, contentType, grpc string
		status                    int
	}{
		{http.MethodPost, "application/grpc", "7", 200},
		{http.MethodPost, "application/grpc+proto; a=b", "7", 200},
		{http.MethodPost, "application/grpcx", "", 403},
		{http.MethodPost, "application/grpc-web", "", 403},
		{http.MethodGet, "application/grpc", "", 403},
	} {
		resp, _ := h.send(t, c.method, "/denied", "", "Content-Type", c.contentType)
		if resp.StatusCode != c.status || resp.Header.Get("Grpc-Status") != c.grpc {
			t.Errorf("%s %s: got %d, gRPC %q", c.method, c.contentType, resp.StatusCode, resp.Header.Get("Grpc-Status"))
		}
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.localhost"}}
	conn, err := d.DialContext(t.Context(), "tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /denied HTTP/1.1\r\nHost: shop.localhost\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("HTTP/1.1: got %v, %v", resp, err)
	}
	_ = resp.Body.Close()
}
