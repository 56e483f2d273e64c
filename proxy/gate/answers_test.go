package gate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAnswers puts a service that leaks behind the whole gateway.
func TestAnswers(t *testing.T) {
	const leak = "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<p>one teapot</p>")
		if r.URL.Path == "/broken" {
			_, _ = io.WriteString(w, leak)
		}
	}))
	defer backend.Close()
	for inspection, broken := range map[string]int{
		"{}":                            http.StatusOK,
		"{answers: true}":               http.StatusBadGateway,
		"{answers: true, mode: detect}": http.StatusOK,
		"{answers: false}":              http.StatusOK,
	} {
		w := &witness{lines: map[string][]string{}, why: map[string]string{}}
		address := gateway(t, snapshot(t, backend.Listener.Addr().String(), inspection, "shop.localhost"), w)
		for path, want := range map[string]int{"/sound": http.StatusOK, "/broken": broken} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "shop.localhost"
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != want || strings.Contains(string(body), "answer-withheld") != (want == http.StatusBadGateway) {
				t.Errorf("waf: %s, %s: got %d %s, %v", inspection, path, resp.StatusCode, body, err)
			}
			if want != http.StatusOK && strings.Contains(string(body), "MySQL") {
				t.Errorf("waf: %s: leaked all the same", inspection)
			}
		}
	}
}
