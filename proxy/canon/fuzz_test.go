package canon_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
)

// FuzzCanonicalise holds that what comes out is clean, that it is its own canonical form, and that net/url
// reads it as it is meant.
func FuzzCanonicalise(f *testing.F) {
	f.Add("/orders/42?a=1&b=%20+", "shop.example", "Accept: */*\nCookie: a=1")
	f.Add("/caf%c3%a9/%7euser/[1]?q=%3Cx%3E;y", "BÜCHER.example:443", "x_y: 1\nX-Forwarded-For: 1")
	f.Add("/a/%2e%2e/%252f//;x", "[::1]:8443", "Connection: close, x-hop\nX-Hop: 1\nTe: trailers")
	f.Add("https://shop.example/a?%0a", "shop.example", "Content-Length: 0\nExpect: 100-continue")
	f.Add("/%EF%BC%8F?%00", "127.0.0.1", "Upgrade: websocket\nConnection: Upgrade")
	f.Fuzz(func(t *testing.T, target, host, header string) {
		in := request(func(in *canon.Input) { in.Target, in.Host = target, host })
		for line := range strings.SplitSeq(header, "\n") {
			name, value, _ := strings.Cut(line, ":")
			in.Header.Add(name, value)
		}
		var out, again canon.Output
		if err := canon.Canonicalise(in, &out); err != nil {
			code(t, err)
			return
		}
		checkClean(t, &out)
		checkDifferential(t, &out)

		authority := out.Host
		if out.Port != 0 {
			authority = host // the port is not under test; the host must still lead to the same name
		}
		second := request(func(in *canon.Input) { in.Target, in.Host, in.Header = out.Path, authority, out.Header.Clone() })
		if out.RawQuery != "" {
			second.Target += "?" + out.RawQuery
		}
		if err := canon.Canonicalise(second, &again); err != nil {
			t.Fatalf("the canonical form of %q is refused: %v", second.Target, err)
		}
		if again.Path != out.Path || again.RawQuery != out.RawQuery || again.Host != out.Host ||
			!slices.Equal(again.Segments, out.Segments) || !slices.Equal(again.Query, out.Query) || !slices.Equal(again.Header, out.Header) {
			t.Fatalf("not idempotent: %+v, then %+v", out, again)
		}
	})
}

// checkClean holds what no canonical request may have.
func checkClean(t *testing.T, out *canon.Output) {
	t.Helper()
	control := func(s string) bool {
		return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
	}
	if control(out.Path) || control(out.RawQuery) || control(out.Host) || strings.ContainsAny(out.Path+out.RawQuery, " #\t") {
		t.Fatalf("control character or delimiter in %q ? %q", out.Path, out.RawQuery)
	}
	upper := strings.ToUpper(out.Path)
	for _, bad := range []string{"//", "%2F", "%5C", "\\", ";", "%00", "%2E"} {
		if strings.Contains(upper, bad) {
			t.Fatalf("%s in path %q", bad, out.Path)
		}
	}
	for _, s := range out.Segments {
		if s == "." || s == ".." || strings.ContainsAny(s, "/\\") || control(s) {
			t.Fatalf("segment %q", s)
		}
	}
	for _, f := range out.Header {
		if control(f.Value) || strings.Trim(f.Value, " \t") != f.Value || hiddenField(f.Name) {
			t.Fatalf("header %q: %q", f.Name, f.Value)
		}
	}
}

func hiddenField(name string) bool {
	folded := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	return slices.Contains([]string{"", "connection", "transfer-encoding", "upgrade", "forwarded", "host", "keep-alive"}, folded) ||
		strings.HasPrefix(folded, "x-forwarded") || strings.HasPrefix(folded, "x-palisade")
}

// checkDifferential reads the output with net/url.
func checkDifferential(t *testing.T, out *canon.Output) {
	t.Helper()
	u, err := url.ParseRequestURI("https://" + out.Host + out.Path + "?" + out.RawQuery)
	if err != nil {
		t.Fatalf("net/url refuses %q: %v", out.Path, err)
	}
	if u.Host != out.Host || u.EscapedPath() != out.Path || u.RawQuery != out.RawQuery || !slices.Equal(strings.Split(u.Path[1:], "/"), out.Segments) {
		t.Fatalf("net/url reads %q as %q, segments %q", out.Path, u.Path, out.Segments)
	}
	clean := path.Clean(u.Path)
	if strings.HasSuffix(u.Path, "/") && clean != "/" {
		clean += "/"
	}
	if clean != u.Path {
		t.Fatalf("path.Clean(%q) is %q", u.Path, clean)
	}
	var query []proxy.Param
	for pair := range strings.SplitSeq(out.RawQuery, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			t.Fatalf("net/url refuses query %q", pair)
		}
		query = append(query, proxy.Param{Name: n, Value: v})
	}
	if !slices.Equal(query, out.Query) {
		t.Fatalf("net/url reads query %q as %q, not %q", out.RawQuery, query, out.Query)
	}
}
