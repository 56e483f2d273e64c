package canon_test

import (
	"slices"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/palisade-security/palisade/proxy/canon"
)

func TestPath(t *testing.T) {
	for _, tc := range []struct {
		target, path string
		segments     []string
	}{
		{"/", "/", []string{""}},
		{"/a", "/a", []string{"a"}},
		{"/a/", "/a/", []string{"a", ""}},
		{"/a/b.c/..d/e..", "/a/b.c/..d/e..", []string{"a", "b.c", "..d", "e.."}},
		{"/%61%2d%7E%5f", "/a-~_", []string{"a-~_"}},
		{"/a%20b%c3%a9", "/a%20b%C3%A9", []string{"a bé"}},
		{"/a+b%2B", "/a+b%2B", []string{"a+b+"}},
		{"/100%25", "/100%25", []string{"100%"}},
		{"/100%25x", "/100%25x", []string{"100%x"}},
		{"/a[1]|{x}", "/a%5B1%5D%7C%7Bx%7D", []string{"a[1]|{x}"}},
		{"/!$&'()*+,=:@", "/!$&'()*+,=:@", []string{"!$&'()*+,=:@"}},
		{"/a%3Bb", "/a%3Bb", []string{"a;b"}},
		{"/a%3Fb%23", "/a%3Fb%23", []string{"a?b#"}},
		{"https://shop.example/a", "/a", []string{"a"}},
		{"HTTPS://SHOP.example", "/", []string{""}},
	} {
		in, out := request(func(in *canon.Input) { in.Target = tc.target }), canon.Output{}
		if err := canon.Canonicalise(in, &out); err != nil {
			t.Errorf("%s: %v", tc.target, err)
			continue
		}
		if out.Path != tc.path || !slices.Equal(out.Segments, tc.segments) {
			t.Errorf("%s: got %q %q, want %q %q", tc.target, out.Path, out.Segments, tc.path, tc.segments)
		}
	}
}

func TestTargetRefused(t *testing.T) {
	for target, want := range map[string]string{
		"":                              canon.CodeTargetForm,
		"*":                             canon.CodeTargetForm,
		"a":                             canon.CodeTargetForm,
		"?a":                            canon.CodeTargetForm,
		"shop.example:443":              canon.CodeTargetForm,
		"http://shop.example/":          canon.CodeTargetForm, // the connection has TLS
		"ftp://shop.example/":           canon.CodeTargetForm,
		"https://other.example/":        canon.CodeHostConflict,
		"https://shop.example:8443/":    canon.CodeHostConflict,
		"https://u:p@shop.example/":     canon.CodeHostInvalid,
		"https:///a":                    canon.CodeHostInvalid,
		"https://shop.example#/a":       canon.CodeTargetFragment,
		"https://shop.example\\@x/":     canon.CodeHostInvalid,
		"//shop.example/":               canon.CodeEmptySegment,
		"/a#b":                          canon.CodeTargetFragment,
		"/a?b#c":                        canon.CodeTargetFragment,
		"/a//b":                         canon.CodeEmptySegment,
		"/a//":                          canon.CodeEmptySegment,
		"//":                            canon.CodeEmptySegment,
		"/a%2Fb":                        canon.CodeEncodedSlash,
		"/a%2fb":                        canon.CodeEncodedSlash,
		"/a%5Cb":                        canon.CodeBackslash,
		"/a\\b":                         canon.CodeBackslash,
		"/.":                            canon.CodeDotSegment,
		"/..":                           canon.CodeDotSegment,
		"/a/./b":                        canon.CodeDotSegment,
		"/a/../b":                       canon.CodeDotSegment,
		"/a/%2e%2e/b":                   canon.CodeDotSegment,
		"/a/.%2E/b":                     canon.CodeDotSegment,
		"/a/%2e":                        canon.CodeDotSegment,
		"/a/...":                        canon.CodeDotSegment, // Windows drops further dots
		"/a/..%20/b":                    canon.CodeDotSegment,
		"/a/..%3Bx/b":                   canon.CodeDotSegment,
		"/a/..;/b":                      canon.CodePathParameter,
		"/a;v=1":                        canon.CodePathParameter,
		"/a%00":                         canon.CodeControl,
		"/a%0d%0ab":                     canon.CodeControl,
		"/a%7F":                         canon.CodeControl,
		"/a%C2%85":                      canon.CodeControl,
		"/a%E2%80%AEb":                  canon.CodeControl,
		"/a\x00":                        canon.CodeControl,
		"/a\tb":                         canon.CodeControl,
		"/a\x7f":                        canon.CodeControl,
		"/a b":                          canon.CodeTargetByte,
		"/caf\u00e9":                    canon.CodeTargetByte,
		"/a%":                           canon.CodePercent,
		"/a%2":                          canon.CodePercent,
		"/a%zz":                         canon.CodePercent,
		"/a%u002f":                      canon.CodePercent,
		"/%252e%252e/":                  canon.CodeDoubleEncoding,
		"/%25%32%66":                    canon.CodeDoubleEncoding,
		"/%25u002f":                     canon.CodeDoubleEncoding,
		"/%c0%af":                       canon.CodeUTF8, // overlong
		"/%c0%ae%c0%ae/":                canon.CodeUTF8,
		"/%e0%80%af":                    canon.CodeUTF8,
		"/%ed%a0%80":                    canon.CodeUTF8, // surrogate
		"/%ff":                          canon.CodeUTF8,
		"/%EF%BC%8F":                    canon.CodeConfusable,
		"/%EF%BC%8E%EF%BC%8E":           canon.CodeConfusable,
		"/%E2%88%95":                    canon.CodeConfusable,
		"/%E2%80%A4":                    canon.CodeConfusable,
		"/?a=%u002f":                    canon.CodePercent,
		"/?a=1%UFF0f":                   canon.CodePercent,
		"/?a=%00":                       canon.CodeControl,
		"/?a=%1b":                       canon.CodeControl,
		"/?a%0a=b":                      canon.CodeControl,
		"/?a=b\n":                       canon.CodeControl,
		"/?a=b c":                       canon.CodeTargetByte,
		"/?a=%ff":                       canon.CodeUTF8,
		"/?a=\xc3\xa9":                  canon.CodeTargetByte,
		"/?" + longQuery(1001):          canon.CodeTooManyParams,
		"/" + string(make([]byte, 9e3)): canon.CodeTargetTooLong,
	} {
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Target = target }), &canon.Output{})
		if got := code(t, err); got != want {
			t.Errorf("%.60q: got %q, want %q", target, got, want)
		}
	}
}

func longQuery(n int) string {
	b := make([]byte, 0, 2*n)
	for range n {
		b = append(b, "a&"...)
	}
	return string(b)
}

func TestQuery(t *testing.T) {
	for _, tc := range []struct {
		query, canonical string
		params           []string
	}{
		{"", "", nil},
		{"a", "a", []string{"a", ""}},
		{"a=1&a=2", "a=1&a=2", []string{"a", "1", "a", "2"}},
		{"&&a=b=c&", "&&a=b=c&", []string{"a", "b=c"}},
		{"a=1;b=2", "a=1;b=2", []string{"a", "1;b=2"}},
		{"a=x+y%2bz", "a=x+y%2Bz", []string{"a", "x y+z"}},
		{"%61=%41", "a=A", []string{"a", "A"}},
		{"a=%252e", "a=%252e", []string{"a", "%2e"}},
		{"a=100%", "a=100%25", []string{"a", "100%"}},
		{"a=%&b%=%2", "a=%25&b%25=%252", []string{"a", "%", "b%", "%2"}},
		{"a=%%32%66+%0g%zz", "a=%252f+%250g%25zz", []string{"a", "%2f %0g%zz"}},
		{"a=%u0f", "a=%25u0f", []string{"a", "%u0f"}},
		{"a=l1%0d%0al2%09", "a=l1%0D%0Al2%09", []string{"a", "l1\r\nl2\t"}},
		{"a[]=<x>|\\`^\"", "a%5B%5D=%3Cx%3E%7C%5C%60%5E%22", []string{"a[]", "<x>|\\`^\""}},
		{"a?b/c=%c3%a9", "a?b/c=%C3%A9", []string{"a?b/c", "é"}},
	} {
		in, out := request(func(in *canon.Input) { in.Target = "/?" + tc.query }), canon.Output{}
		if err := canon.Canonicalise(in, &out); err != nil {
			t.Errorf("%s: %v", tc.query, err)
			continue
		}
		var params []string
		for _, p := range out.Query {
			params = append(params, p.Name, p.Value)
		}
		if out.RawQuery != tc.canonical || !slices.Equal(params, tc.params) {
			t.Errorf("%s: got %q %q, want %q %q", tc.query, out.RawQuery, params, tc.canonical, tc.params)
		}
	}
}

// TestConfusables derives from the Unicode tables which characters NFKC turns into a delimiter.
func TestConfusables(t *testing.T) {
	for c := rune(0x80); c <= unicode.MaxRune; c++ {
		if c >= 0xd800 && c < 0xe000 {
			continue
		}
		dots, delimiter := true, false
		for _, d := range norm.NFKC.String(string(c)) {
			dots = dots && d == '.'
			delimiter = delimiter || d == '/' || d == '\\' || d == '%' || d == '?' || d == '#' || d == ';'
		}
		if !dots && !delimiter {
			continue
		}
		target := "/"
		for _, b := range []byte(string(c)) {
			target += "%" + string("0123456789ABCDEF"[b>>4]) + string("0123456789ABCDEF"[b&15])
		}
		err := canon.Canonicalise(request(func(in *canon.Input) { in.Target = target }), &canon.Output{})
		if got := code(t, err); got != canon.CodeConfusable {
			t.Errorf("U+%04X: got %q", c, got)
		}
	}
}
