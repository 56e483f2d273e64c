package upstream

import (
	"net/textproto"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
)

// TestOctets compares what is known of octets with what the RFCs say, wherever in a text they stand.
func TestOctets(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80
		token := letter || c >= '0' && c <= '9' || c < 0x80 && c > 0 && strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c))
		value := c == '\t' || c >= ' ' && c != 0x7f
		if isTokenOctet(c) != token {
			t.Errorf("octet %#x in a token: %v", c, !token)
		}
		for at := range 20 {
			b := []byte(strings.Repeat("a b~", 5))
			b[at] = c
			if isFieldValue(string(b)) != value {
				t.Errorf("octet %#x at %d of a value: %v", c, at, !value)
			}
		}
	}
}

func BenchmarkHead(b *testing.B) {
	b.Run("write", func(b *testing.B) {
		r := &Request{Method: "GET", Target: "/items/7", Host: "prof.localhost", Header: fieldsOf(b,
			"User-Agent: bench\r\nForwarded: for=127.0.0.1;host=\"prof.localhost\";proto=https\r\nX-Forwarded-For: 127.0.0.1\r\n"+
				"X-Forwarded-Host: prof.localhost\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\n"+
				"X-Request-Id: 0193e0c5-7b5a-7e2a-9d43-0a4f5f7d1a11\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n")}
		buf := make([]byte, 0, 2048)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := appendHead(buf, r, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		text := "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 16:00:00 GMT\r\nContent-Type: text/plain\r\n" +
			"Content-Length: 1024\r\nConnection: keep-alive\r\n"
		b.ReportAllocs()
		for b.Loop() {
			h, err := parseHead(text, nil)
			if err == nil {
				_, err = framed("GET", &h)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func fieldsOf(tb testing.TB, text string) field.List {
	tb.Helper()
	l, err := parseFields(text, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestFieldName has names come out as net/textproto has them.
func TestFieldName(t *testing.T) {
	for _, s := range []string{"Content-Type", "content-type", "CONTENT-TYPE", "Www-Authenticate", "WWW-Authenticate", "ETag", "Etag", "x", "X", "-", "-a", "a-", "1a", "a1-b", "x_y", "X-_y", "!a"} {
		if got, ok := fieldName(s); !ok || got != textproto.CanonicalMIMEHeaderKey(s) {
			t.Errorf("%q becomes %q, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", " ", "a b", "a:", "é", "a\x00"} {
		if got, ok := fieldName(s); ok {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}
