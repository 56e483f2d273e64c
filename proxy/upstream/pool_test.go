package upstream_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/upstream"
)

func newPool(t testing.TB, o upstream.Options) *upstream.Pool {
	t.Helper()
	p := upstream.NewPool(o)
	t.Cleanup(p.Close)
	return p
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func read(t testing.TB, r *upstream.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("reading body: %v", err)
	}
	return string(b)
}

func TestPoolEcho(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
		_, _ = io.Copy(w, r.Body)
	})
	p := newPool(t, upstream.Options{Address: addr})
	for _, length := range []int64{5, -1} {
		for i := range 3 {
			r, err := p.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/a?b=c", Host: "h", Body: strings.NewReader("hello"), Length: length})
			if got := read(t, r, err); got != "hello" {
				t.Fatalf("got %q", got)
			}
			if want := i > 0 || length < 0; r.Reused != want {
				t.Errorf("length %d, request %d: reused %v", length, i, r.Reused)
			}
		}
	}
}
