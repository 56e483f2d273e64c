package canon_test

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
)

func TestHost(t *testing.T) {
	for raw, want := range map[string]struct {
		host string
		port uint16
	}{
		"shop.example":              {"shop.example", 0},
		"Shop.EXAMPLE:8443":         {"shop.example", 8443},
		"localhost":                 {"localhost", 0},
		"a--b.example":              {"a--b.example", 0},
		"bücher.example":            {"xn--bcher-kva.example", 0},
		"BÜCHER.example":            {"xn--bcher-kva.example", 0},
		"xn--bcher-kva.example:443": {"xn--bcher-kva.example", 443},
		"192.0.2.1:80":              {"192.0.2.1", 80},
		"[2001:DB8:0::1]":           {"[2001:db8::1]", 0},
		"[::1]:8443":                {"[::1]", 8443},
		"1.example":                 {"1.example", 0},
		"0xy":                       {"0xy", 0},
	} {
		host, port, err := canon.Host(raw)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("%s: got %q %d %v", raw, host, port, err)
		}
	}
}

func TestHostRefused(t *testing.T) {
	for _, raw := range []string{
		"", ".", ":80", "shop.example.", "shop..example", ".shop", "shop.example:", "shop.example:0", "shop.example:65536",
		"shop.example:080", "shop.example:+80", "shop.example:80:80", "u@shop.example", "shop.example/", "shop.example,evil.example",
		"shop example", " shop.example", "shop_x.example", "-shop.example", "shop-.example", "sh%6fp.example", "shop.example\x00",
		"1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5", "a.1", "256.1.1.1", "0x",
		"[::1", "::1", "2001:db8::1", "[::ffff:1.2.3.4]", "[fe80::1%25eth0]", "[1.2.3.4]", "[::1]x", "[]", "[::1]:",
		"xn--.example", "xn--a.example", "xn--zz--zz", "shop。example.", "a\u200db.example", "１２７.1",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "aa", strings.Repeat("é", 600),
	} {
		if host, _, err := canon.Host(raw); code(t, err) != canon.CodeHostInvalid {
			t.Errorf("%.40q: accepted as %q", raw, host)
		}
	}
}

func TestServerName(t *testing.T) {
	for _, tc := range []struct {
		sni, host string
		cross     bool
		want      string
	}{
		{"", "shop.example", false, ""},
		{"shop.example", "shop.example:443", false, ""},
		{"SHOP.example.", "shop.example", false, ""},
		{"bücher.example", "xn--bcher-kva.example", false, ""},
		{"other.example", "shop.example", false, canon.CodeHostMisdirected},
		{"other.example", "shop.example", true, ""},
		{"shop.example.evil", "shop.example", false, canon.CodeHostMisdirected},
		{"%", "shop.example", false, canon.CodeHostMisdirected},
	} {
		err := canon.Canonicalise(request(func(in *canon.Input) { in.SNI, in.Host, in.CrossHost = tc.sni, tc.host, tc.cross }), &canon.Output{})
		if got := code(t, err); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}
