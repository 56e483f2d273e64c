package canon_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

func TestHeaderKept(t *testing.T) {
	for name, tc := range map[string]struct{ in, out field.List }{
		"canonical names":      {h("accept", " a\t", "x-UPPER", "b"), h("Accept", "a", "X-Upper", "b")},
		"order and duplicates": {h("X-B", "1", "X-A", "2", "X-B", "3"), h("X-B", "1", "X-A", "2", "X-B", "3")},
		"obs-text elsewhere":   {h("X-A", "\x80\xff", "User-Agent", "caf\xe9"), h("X-A", "\x80\xff", "User-Agent", "caf\xe9")},
		"odd but own name":     {h("X_custom.!#$%&'*+^_`|~", "1"), h("X_custom.!#$%&'*+^_`|~", "1")},
		"hop-by-hop": {
			h("Connection", "close, X-Hop", "X-Hop", "1", "Keep-Alive", "1", "Proxy-Connection", "x", "Proxy", "x",
				"Proxy-Authorization", "x", "Trailer", "x", "Upgrade", "h2c", "Http2-Settings", "x", "Te", "gzip"), nil,
		},
		"cookie":        {h("Cookie", "a=1; b=\u4f60\u597d=\u00e9"), h("Cookie", "a=1; b=\u4f60\u597d=\u00e9")},
		"te":            {h("Te", "gzip;q=1, Trailers"), h("Te", "trailers")},
		"host":          {h("Host", "SHOP.example"), nil},
		"no upgrade":    {h("Upgrade", "websocket"), nil},
		"foreign offer": {h("Upgrade", "foo/2", "Connection", "upgrade"), nil},
	} {
		var out canon.Output
		in := request(func(in *canon.Input) { in.Header = tc.in })
		if name == "foreign offer" {
			in.Header = h("Upgrade", "h2c", "Connection", "upgrade, http2-settings", "Http2-Settings", "x")
		}
		before := in.Header.Clone()
		if err := canon.Canonicalise(in, &out); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(out.Header, tc.out) || len(out.Dropped) != 0 || out.Upgrade != "" {
			t.Errorf("%s: got %q, dropped %q", name, out.Header, out.Dropped)
		}
		if !slices.Equal(in.Header, before) {
			t.Errorf("%s: the input was changed", name)
		}
	}
}

func TestClaimsDropped(t *testing.T) {
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Client-Cert", "X-Forwarded-User", "X-Forwarded", "Forwarded",
		"x-real-ip", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Original-URL", "X-Original-Method", "X-Rewrite-URL",
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-User", "X-User-Id", "X-Remote-User", "Remote-User",
		"X-Auth-Request-Email", "X-Palisade-Subject", "SSL-Client-Cert", "X-SSL-Client-Verify", "Client-Cert", "Txn-Token",
		"X-Envoy-Original-Path", "X-Amzn-Oidc-Data", "Tailscale-User-Login", "X-Host", "Via",
	} {
		var out canon.Output
		if err := canon.Canonicalise(request(func(in *canon.Input) { in.Header = h(name, "x") }), &out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(out.Header) != 0 || len(out.Dropped) != 1 || !strings.EqualFold(out.Dropped[0], name) {
			t.Errorf("%s: got %q, dropped %q", name, out.Header, out.Dropped)
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		header field.List
		want   string
	}{
		"empty name":          {h("", "x"), canon.CodeHeaderName},
		"space in name":       {h("X A", "x"), canon.CodeHeaderName},
		"space after name":    {h("Content-Length ", "1"), canon.CodeHeaderName},
		"colon in name":       {h(":path", "/"), canon.CodeHeaderName},
		"non-ASCII name":      {h("X-\u00e9", "/"), canon.CodeHeaderName},
		"NUL":                 {h("X-A", "a\x00"), canon.CodeHeaderValue},
		"line feed":           {h("X-A", "a\nb: c"), canon.CodeHeaderValue},
		"return":              {h("X-A", "12345678\rb"), canon.CodeHeaderValue},
		"delete":              {h("X-A", "1234567890123456\x7f"), canon.CodeHeaderValue},
		"cookie not UTF-8":    {h("Cookie", "a=\xe9"), canon.CodeHeaderValue},
		"cookie with C1":      {h("Cookie", "a=1\u0085b"), canon.CodeHeaderValue},
		"cookie with U+2028":  {h("Cookie", "a=1\u2028"), canon.CodeHeaderValue},
		"cookie's name":       {h("Cookie", "a=1; \u00a0__Host-id=2"), canon.CodeHeaderValue},
		"nameless cookie":     {h("Cookie", "a=1; \u4f60"), canon.CodeHeaderValue},
		"obs-text":            {h("Authorization", "Bearer \x80"), canon.CodeHeaderValue},
		"underscore known":    {h("X_Forwarded_For", "1"), canon.CodeHeaderShadow},
		"underscore length":   {h("Content_Length", "1"), canon.CodeHeaderShadow},
		"dot known":           {h("X.Real.Ip", "1"), canon.CodeHeaderShadow},
		"underscore family":   {h("X_palisade_x", "1"), canon.CodeHeaderShadow},
		"underscore present":  {h("X-Plan", "free", "X_Plan", "gold"), canon.CodeHeaderShadow},
		"two underscores":     {h("X_Plan", "free", "X.Plan", "gold"), canon.CodeHeaderShadow},
		"duplicate auth":      {h("Authorization", "a", "authorization", "b"), canon.CodeHeaderDuplicate},
		"duplicate type":      {h("Content-Type", "a", "Content-Type", "a"), canon.CodeHeaderDuplicate},
		"duplicate cookie":    {h("Cookie", "a=1", "Cookie", "b=2"), canon.CodeHeaderDuplicate},
		"duplicate agent":     {h("User-Agent", "a", "User-Agent", "b"), canon.CodeHeaderDuplicate},
		"duplicate host":      {h("Host", "shop.example", "Host", "shop.example"), canon.CodeHeaderDuplicate},
		"other host":          {h("Host", "other.example"), canon.CodeHostConflict},
		"connection auth":     {h("Connection", "close, authorization", "Authorization", "x"), canon.CodeConnection},
		"connection claim":    {h("Connection", "X-Forwarded-For"), canon.CodeConnection},
		"connection shadow":   {h("Connection", "X_Forwarded_For"), canon.CodeConnection},
		"connection no token": {h("Connection", "a b"), canon.CodeConnection},
		"expectation":         {h("Expect", "200-ok"), canon.CodeExpect},
	} {
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Header = tc.header }), &canon.Output{})
		if got := code(t, err); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestHeaderBounds(t *testing.T) {
	many, large := field.List{}, h("X-A", strings.Repeat("a", 40000))
	for range 101 {
		many.Add("X-A", "1")
	}
	for want, header := range map[string]field.List{canon.CodeTooManyHeaders: many, canon.CodeHeaderTooLarge: large} {
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Header = header }), &canon.Output{})
		if got := code(t, err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMethodAndProtocol(t *testing.T) {
	for want, change := range map[string]func(*canon.Input){
		canon.CodeMethodUnknown: func(in *canon.Input) { in.Method = "TRACE" },
		canon.CodeMethodInvalid: func(in *canon.Input) { in.Method = "GET\x01" },
		canon.CodeProtocol:      func(in *canon.Input) { in.Proto = "HTTP/1.2" },
	} {
		if got := code(t, canon.Canonicalise(request(change), &canon.Output{})); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, method := range []string{"CONNECT", "TRACK", "get", "PROPFIND"} {
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Method = method }), &canon.Output{})
		if got := code(t, err); got != canon.CodeMethodUnknown {
			t.Errorf("%s: got %q", method, got)
		}
	}
}

func TestHTTP2(t *testing.T) {
	var out canon.Output
	in := request(func(in *canon.Input) {
		in.Proto, in.Header = "HTTP/2.0", h("Cookie", "a=1", "Accept", "*/*", "Cookie", "b=2", "Te", "trailers")
	})
	if err := canon.Canonicalise(in, &out); err != nil || !slices.Equal(out.Header, h("Cookie", "a=1; b=2", "Accept", "*/*", "Te", "trailers")) {
		t.Errorf("got %q, %v", out.Header, err)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Proxy-Connection"} {
		in.Header = h(name, "x")
		if got := code(t, canon.Canonicalise(in, &out)); got != canon.CodeConnection {
			t.Errorf("%s: got %q", name, got)
		}
	}
	in.Header, in.Target = nil, "https://shop.example/"
	if got := code(t, canon.Canonicalise(in, &out)); got != canon.CodeTargetForm {
		t.Errorf("absolute :path: got %q", got)
	}
}

func TestUpgrade(t *testing.T) {
	good := h("Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket", "Sec-Websocket-Version", "13",
		"Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	var out canon.Output
	if err := canon.Canonicalise(request(func(in *canon.Input) { in.Header = good }), &out); err != nil || out.Upgrade != "websocket" {
		t.Fatalf("got %q, %v", out.Upgrade, err)
	}
	if out.Header.Has("Upgrade") || out.Header.Has("Connection") || !out.Header.Has("Sec-Websocket-Key") {
		t.Errorf("got %q", out.Header)
	}
	with := func(name, value string) field.List { l := good.Clone(); l.Set(name, value); return l }
	for name, change := range map[string]func(*canon.Input){
		"two protocols": func(in *canon.Input) { in.Header = with("Upgrade", "websocket, h2c") },
		"two fields":    func(in *canon.Input) { in.Header = append(good.Clone(), h("Upgrade", "h2c")...) },
		"post":          func(in *canon.Input) { in.Method = "POST" },
		"old protocol":  func(in *canon.Input) { in.Proto = "HTTP/1.0" },
		"body":          func(in *canon.Input) { in.ContentLength = 1 },
		"version":       func(in *canon.Input) { in.Header = with("Sec-Websocket-Version", "8") },
		"key":           func(in *canon.Input) { in.Header = with("Sec-Websocket-Key", "x") },
	} {
		in := request(func(in *canon.Input) { in.Header = good; change(in) })
		if got := code(t, canon.Canonicalise(in, &out)); got != canon.CodeUpgrade {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestTransactionToken holds that a transaction token from outside goes no further, and that one from inside does.
func TestTransactionToken(t *testing.T) {
	for _, tc := range []struct {
		header field.List
		inside bool
		kept   bool
		code   string
	}{
		{h("Txn-Token", "a.b.c"), false, false, ""},
		{h("txn-token", "a.b.c", "TXN-TOKEN", "a.b.c"), false, false, ""},
		{h("txn-token", "a.b.c"), true, true, ""},
		{h("Txn-Token", "a.b.c", "txn-token", "a.b.c"), true, false, canon.CodeHeaderDuplicate},
		{h("Txn-Token", "a.b.\u00e9"), true, false, canon.CodeHeaderValue},
		{h("Txn_Token", "a.b.c"), true, false, canon.CodeHeaderShadow},
		{h("Txn_Token", "a.b.c"), false, false, canon.CodeHeaderShadow},
		{h("Connection", "Txn-Token", "Txn-Token", "a.b.c"), true, false, canon.CodeConnection},
		{h("X-Forwarded-User", "admin"), true, false, ""},
	} {
		var out canon.Output
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Header, in.Inside = tc.header, tc.inside }), &out)
		if tc.code != "" {
			if got := code(t, err); got != tc.code {
				t.Errorf("%q: got %q, want %q", tc.header, got, tc.code)
			}
			continue
		}
		if err != nil || out.Header.Has("Txn-Token") != tc.kept || (len(out.Dropped) == 0) != tc.kept {
			t.Errorf("%q, inside %v: kept %q, dropped %q, %v", tc.header, tc.inside, out.Header, out.Dropped, err)
		}
	}
}
