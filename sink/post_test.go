package sink

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// TestPost packs the body, keeps secrets and stays where it was sent.
func TestPost(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed to %s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%v %q", err, r.Header)
			return
		}
		text, err := io.ReadAll(z)
		if err != nil || r.Header.Get("Authorization") != "Bearer s3cret-token" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%v %q", err, r.Header)
		}
		switch string(text) {
		case "redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case "later":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case "echo":
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "no \x1b[31mway for s3cret-token")
		}
	}))
	defer server.Close()
	o := PosterOptions{URL: server.URL + "/path", Header: map[string]string{"Authorization": "Bearer s3cret-token"}, Secrets: []string{"s3cret-token"}, TLS: server.Client().Transport.(*http.Transport).TLSClientConfig}
	p := NewPoster(o)
	defer p.Close()
	post := func(text string) (*Reply, error) {
		t.Helper()
		r, err := p.Post(t.Context(), "text/plain", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r, p.Judge(r)
	}
	if _, err := post("fine"); err != nil {
		t.Error(err)
	}
	if _, err := post("redirect"); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("a redirect: %v", err)
	}
	_, err := post("later")
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.After != 7*time.Second {
		t.Errorf("%v", err)
	}
	if _, err := post("echo"); err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
	o.TLS = nil
	if _, err := NewPoster(o).Post(t.Context(), "text/plain", nil); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "/path") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestJudge(t *testing.T) {
	p := NewPoster(PosterOptions{})
	for status, want := range map[int]string{
		200: "", 202: "", 204: "", 413: "*errors.errorString", 400: "*sink.RefusedError", 422: "*sink.RefusedError",
		401: "*errors.errorString", 403: "*errors.errorString", 404: "*sink.BusyError", 429: "*sink.BusyError", 500: "*sink.BusyError", 503: "*sink.BusyError",
	} {
		err := p.Judge(&Reply{Status: status})
		_, refused := errors.AsType[*RefusedError](err)
		_, busy := errors.AsType[*BusyError](err)
		if (err != nil) != (want != "") || refused != (want == "*sink.RefusedError") || busy != (want == "*sink.BusyError") || errors.Is(err, ErrTooLarge) != (status == 413) {
			t.Errorf("%d: %v, want %q", status, err, want)
		}
	}
}

// FuzzAnswer reads what hostile servers say.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"", "120", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 2999 23:59:59 GMT", "\x1b]0;x\x07\xff\u2028"} {
		f.Add(s)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryAfter(text, now); d < 0 {
			t.Errorf("%q is %v", text, d)
		}
		shown := Printable(text)
		if len(shown) > maxShown || !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q shows %q", text, shown)
		}
	})
}
