package canon_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

var trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

func TestClient(t *testing.T) {
	for name, tc := range map[string]struct {
		peer   string
		header field.List
		want   string // "" with a code below
		code   string
	}{
		"untrusted peer":     {"203.0.113.9", h("X-Forwarded-For", "1.2.3.4", "Forwarded", "%%%"), "203.0.113.9", ""},
		"mapped peer":        {"::ffff:203.0.113.9", nil, "203.0.113.9", ""},
		"mapped trusted":     {"::ffff:10.0.0.1", h("X-Forwarded-For", "::ffff:198.51.100.7"), "198.51.100.7", ""},
		"trusted, no header": {"10.0.0.1", nil, "10.0.0.1", ""},
		"one hop":            {"10.0.0.1", h("X-Forwarded-For", "198.51.100.7"), "198.51.100.7", ""},
		"spoofed left":       {"10.0.0.1", h("X-Forwarded-For", "1.2.3.4, garbage, 198.51.100.7"), "198.51.100.7", ""},
		"two trusted hops":   {"10.0.0.1", h("X-Forwarded-For", "1.2.3.4, 198.51.100.7 , 10.9.9.9"), "198.51.100.7", ""},
		"two lines":          {"10.0.0.1", h("X-Forwarded-For", "198.51.100.7", "X-Forwarded-For", "10.2.2.2"), "198.51.100.7", ""},
		"all trusted":        {"10.0.0.1", h("X-Forwarded-For", "10.3.3.3, 10.2.2.2"), "10.3.3.3", ""},
		"with port":          {"10.0.0.1", h("X-Forwarded-For", "198.51.100.7:4711"), "198.51.100.7", ""},
		"IPv6":               {"fd00::1", h("X-Forwarded-For", "2001:db8::7"), "2001:db8::7", ""},
		"IPv6 with port":     {"fd00::1", h("X-Forwarded-For", "[2001:db8::7]:443"), "2001:db8::7", ""},
		"unknown":            {"10.0.0.1", h("X-Forwarded-For", "unknown, 10.2.2.2"), "10.2.2.2", ""},
		"garbage":            {"10.0.0.1", h("X-Forwarded-For", "garbage"), "", canon.CodeForwarded},
		"empty":              {"10.0.0.1", h("X-Forwarded-For", ""), "", canon.CodeForwarded},
		"empty entry":        {"10.0.0.1", h("X-Forwarded-For", "1.2.3.4,"), "", canon.CodeForwarded},
		"zone":               {"10.0.0.1", h("X-Forwarded-For", "fe80::1%eth0"), "", canon.CodeForwarded},
		"octal":              {"10.0.0.1", h("X-Forwarded-For", "010.0.0.1"), "", canon.CodeForwarded},
		"bad port":           {"10.0.0.1", h("X-Forwarded-For", "198.51.100.7:x"), "", canon.CodeForwarded},
		"too many":           {"10.0.0.1", h("X-Forwarded-For", strings.Repeat("10.0.0.2,", 100)+"10.0.0.3"), "", canon.CodeForwarded},

		"forwarded":            {"10.0.0.1", h("Forwarded", "for=198.51.100.7;proto=https"), "198.51.100.7", ""},
		"forwarded quoted":     {"10.0.0.1", h("Forwarded", `for="[2001:db8::7]:443" ; by=_x, For=10.2.2.2`), "2001:db8::7", ""},
		"forwarded lines":      {"10.0.0.1", h("Forwarded", "for=198.51.100.7", "Forwarded", "for=10.2.2.2"), "198.51.100.7", ""},
		"forwarded spoof":      {"10.0.0.1", h("Forwarded", "for=stranger, for=198.51.100.7"), "198.51.100.7", ""},
		"forwarded unknown":    {"10.0.0.1", h("Forwarded", "for=Unknown, for=10.2.2.2"), "10.2.2.2", ""},
		"forwarded hidden":     {"10.0.0.1", h("Forwarded", "for=_hidden"), "10.0.0.1", ""},
		"forwarded hidden bad": {"10.0.0.1", h("Forwarded", `for="_hid den"`), "", canon.CodeForwarded},
		"forwarded quote":      {"10.0.0.1", h("Forwarded", `for="1.2.3.4, for=198.51.100.7`), "", canon.CodeForwarded},
		"forwarded stray":      {"10.0.0.1", h("Forwarded", `for="x, for="198.51.100.7"`), "", canon.CodeForwarded},
		"forwarded twice":      {"10.0.0.1", h("Forwarded", "for=1.2.3.4;for=198.51.100.7"), "", canon.CodeForwarded},
		"forwarded no for":     {"10.0.0.1", h("Forwarded", "proto=https"), "", canon.CodeForwarded},
		"forwarded empty":      {"10.0.0.1", h("Forwarded", ""), "", canon.CodeForwarded},

		"both agree":    {"10.0.0.1", h("Forwarded", "for=198.51.100.7", "X-Forwarded-For", "198.51.100.7"), "198.51.100.7", ""},
		"both disagree": {"10.0.0.1", h("Forwarded", "for=198.51.100.7", "X-Forwarded-For", "198.51.100.8"), "", canon.CodeForwardedConflict},
	} {
		got, err := canon.Client(netip.MustParseAddr(tc.peer), trusted, tc.header)
		if c := code(t, err); c != tc.code || (err == nil && got.String() != tc.want) {
			t.Errorf("%s: got %v %q, want %s %q", name, got, c, tc.want, tc.code)
		}
	}
}

func TestRebuild(t *testing.T) {
	for _, tc := range []struct {
		hop  canon.Hop
		want field.List
	}{
		{
			canon.Hop{Client: netip.MustParseAddr("198.51.100.7"), Peer: netip.MustParseAddr("198.51.100.7"), Scheme: "https", Host: "shop.example"},
			h("Accept", "*/*", "Forwarded", `for=198.51.100.7;host="shop.example";proto=https`, "X-Forwarded-For", "198.51.100.7",
				"X-Forwarded-Host", "shop.example", "X-Forwarded-Port", "443", "X-Forwarded-Proto", "https"),
		},
		{
			canon.Hop{Client: netip.MustParseAddr("2001:db8::7"), Peer: netip.MustParseAddr("::ffff:10.0.0.1"), Scheme: "http", Host: "[::1]", Port: 8080},
			h("Accept", "*/*", "Forwarded", `for="[2001:db8::7]", for=10.0.0.1;host="[::1]:8080";proto=http`, "X-Forwarded-For", "2001:db8::7, 10.0.0.1",
				"X-Forwarded-Host", "[::1]:8080", "X-Forwarded-Port", "8080", "X-Forwarded-Proto", "http"),
		},
		{
			canon.Hop{Scheme: "http", Host: "shop.example"},
			h("Accept", "*/*", "Forwarded", `for=unknown;host="shop.example";proto=http`, "X-Forwarded-For", "unknown",
				"X-Forwarded-Host", "shop.example", "X-Forwarded-Port", "80", "X-Forwarded-Proto", "http"),
		},
	} {
		got := h("Forwarded", "for=1.2.3.4", "Accept", "*/*", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Client-Cert", "x")
		canon.Rebuild(&got, tc.hop)
		if !slices.Equal(got, tc.want) {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

// FuzzForwarded holds that a chain never names anything but an address it holds or the peer, that strangers
// cannot change the answer by writing further left, and that what Rebuild writes is read back.
func FuzzForwarded(f *testing.F) {
	f.Add("for=198.51.100.7;proto=https", "198.51.100.7", "1.2.3.4")
	f.Add(`for="[2001:db8::7]:443";by=_x, for=10.2.2.2`, "[2001:db8::7]:443, 10.2.2.2", "for=")
	f.Add(`for="a\"b", for=10.0.0.2`, "unknown", `"`)
	f.Add("", "", ",")
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, forwarded, xff, stranger string) {
		var header field.List
		if forwarded != "" {
			header.Add("Forwarded", forwarded)
		}
		if xff != "" {
			header.Add("X-Forwarded-For", xff)
		}
		client, err := canon.Client(peer, trusted, header)
		if err != nil {
			code(t, err)
			return
		}
		if !client.IsValid() || client.Is4In6() || client.Zone() != "" {
			t.Fatalf("client %v", client)
		}
		if c, err := canon.Client(netip.MustParseAddr("203.0.113.9"), trusted, header); err != nil || c.String() != "203.0.113.9" {
			t.Fatalf("untrusted peer: %v %v", c, err)
		}
		if xff != "" && forwarded == "" && client != peer && !trusted[0].Contains(client) && !trusted[1].Contains(client) {
			again, err := canon.Client(peer, trusted, h("X-Forwarded-For", stranger+","+xff))
			if err != nil || again != client {
				t.Fatalf("%q in front of %q: %v %v, was %v", stranger, xff, again, err, client)
			}
		}
		var rebuilt field.List
		canon.Rebuild(&rebuilt, canon.Hop{Client: client, Peer: peer, Scheme: "https", Host: "[::1]", Port: 8443})
		if again, err := canon.Client(peer, trusted, rebuilt); err != nil || again != client {
			t.Fatalf("rebuilt %q: %v %v, was %v", rebuilt, again, err, client)
		}
	})
}
