package canon_test

import (
	"errors"
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

// request is a clean GET that tests change.
func request(change func(*canon.Input)) *canon.Input {
	in := &canon.Input{Method: "GET", Target: "/", Host: "shop.example", Proto: "HTTP/1.1", TLS: true}
	if change != nil {
		change(in)
	}
	return in
}

// code returns the code of a refusal, or "".
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *canon.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is not a *Refusal", err)
	}
	if r.Kind.Status < 400 || r.Text == "" {
		t.Errorf("refusal %q lacks a kind or text", r.Code)
	}
	return r.Code
}

func h(pairs ...string) field.List {
	var l field.List
	for i := 0; i < len(pairs); i += 2 {
		l.Add(pairs[i], pairs[i+1])
	}
	return l
}

func TestCanonicaliseClean(t *testing.T) {
	in := request(func(in *canon.Input) {
		in.Target = "/orders/42?a=1&b=x+y%20z"
		in.Header = h("Accept", "*/*", "Authorization", "Bearer x", "X-Forwarded-For", "1.2.3.4")
	})
	var out canon.Output
	if err := canon.Canonicalise(in, &out); err != nil {
		t.Fatal(err)
	}
	if out.Path != "/orders/42" || len(out.Segments) != 2 || out.Segments[1] != "42" || out.RawQuery != "a=1&b=x+y%20z" ||
		out.Query[1].Value != "x y z" || len(out.Header) != 2 || len(out.Dropped) != 1 {
		t.Errorf("got %+v", out)
	}
}
