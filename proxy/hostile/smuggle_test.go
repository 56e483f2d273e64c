package hostile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// forwarded is a request as the service must get it, byte for byte.
func forwarded(method, target string, rest ...string) string {
	body := ""
	if i := slices.Index(rest, ""); i >= 0 {
		body, rest = strings.Join(rest[i+1:], ""), rest[:i]
	}
	s := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, l := range rest {
		s += l + "\r\n"
	}
	return s + "\r\n" + body
}

// added is what the gateway adds to every request.
var added = []string{
	`Forwarded: for=127.0.0.1;host="` + host + `";proto=https`, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: " + host, "X-Forwarded-Port: 443",
	"X-Forwarded-Proto: https", "X-Request-Id: *", "Traceparent: *",
}

func last(s string) string {
	return s + "GET /last HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
}

func head(lines ...string) string {
	return "POST /a HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const hidden = "GET /hidden HTTP/1.1\r\nHost: " + host + "\r\n\r\n"

// TestSmuggling sends what servers read in different ways. Nothing of a refused request may reach the service,
// nor anything behind it.
func TestSmuggling(t *testing.T) {
	n := itoa(len(hidden) + 5)
	for _, c := range []struct{ name, stream, code string }{
		{"CL.TE", head("Content-Length: "+n, "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden, "length-conflict"},
		{"TE.CL", head("Transfer-Encoding: chunked", "Content-Length: 4") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden), "length-conflict"},
		{"TE.TE space before colon", head("Content-Length: "+n, "Transfer-Encoding : chunked") + "0\r\n\r\n" + hidden, "header-name"},
		{"TE.TE xchunked", head("Content-Length: "+n, "Transfer-Encoding: xchunked") + "0\r\n\r\n" + hidden, "transfer-encoding"},
		{"TE.TE identity", head("Transfer-Encoding: identity") + hidden, "transfer-encoding"},
		{"TE.TE twice", head("Transfer-Encoding: chunked", "Transfer-Encoding: x") + "0\r\n\r\n" + hidden, "transfer-encoding"},
		{"TE.TE tab", head("Transfer-Encoding:\tchunked\x0b") + "0\r\n\r\n" + hidden, "header-value"},
		{"TE.TE quoted", head(`Transfer-Encoding: "chunked"`) + "0\r\n\r\n" + hidden, "transfer-encoding"},
		{"TE.TE folded", head("Transfer-Encoding:", " chunked") + "0\r\n\r\n" + hidden, "transfer-encoding"},
		{"TE.TE behind a fold", head("X: y", " Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden, "obsolete-folding"},
		{"TE.TE bare LF in front", head("X: y\nTransfer-Encoding: chunked") + "0\r\n\r\n" + hidden, "line-ending"},
		{"TE.TE bare CR in front", head("X: y\rTransfer-Encoding: chunked") + "0\r\n\r\n" + hidden, "header-value"},
		{"TE.TE with NUL", head("Transfer-Encoding: chunked\x00") + "0\r\n\r\n" + hidden, "header-value"},
		{"TE.TE underscore", head("Content-Length: 0", "Transfer_Encoding: chunked"), "header-shadow"},
		{"TE in HTTP/1.0", strings.Replace(head("Transfer-Encoding: chunked"), "HTTP/1.1", "HTTP/1.0", 1) + "0\r\n\r\n" + hidden, "transfer-encoding"},
		{"CL.CL", head("Content-Length: 0", "Content-Length: "+n) + hidden, "length-conflict"},
		{"CL.CL equal", head("Content-Length: 0", "Content-Length: 0") + hidden, "length-conflict"},
		{"CL list", head("Content-Length: 0, "+n) + hidden, "content-length"},
		{"CL with a sign", head("Content-Length: +0") + hidden, "content-length"},
		{"CL negative", head("Content-Length: -1") + hidden, "content-length"},
		{"CL with an exponent", head("Content-Length: 1e1") + hidden, "content-length"},
		{"CL shadowed", head("Content-Length: 0", "Content_Length: "+n) + hidden, "header-shadow"},
		{"CL behind NUL", head("X: \x00", "Content-Length: "+n) + hidden, "header-value"},
		{"GET with a body", "GET /a HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: " + itoa(len(hidden)) + "\r\n\r\n" + hidden, "unexpected-content"},
		{"host twice", "GET /a HTTP/1.1\r\nHost: " + host + "\r\nHost: evil.example\r\n\r\n", "host-invalid"},
		{"host and target differ", "GET https://evil.example/a HTTP/1.1\r\nHost: " + host + "\r\n\r\n", "host-conflict"},
		{"host behind a fold", "GET /a HTTP/1.1\r\nX: y\r\n Host: evil.example\r\nHost: " + host + "\r\n\r\n", "obsolete-folding"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "protocol-version"},
		{"HTTP/0.9", "GET /a\r\n" + hidden, "request-line"},
		{"h2c upgrade with a hidden body", "GET /a HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade, HTTP2-Settings, Content-Length\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" + hidden, "connection-field"},
		{"Connection names Content-Length", head("Connection: content-length", "Content-Length: 0"), "connection-field"},
		{"Expect obfuscated", head("Expect: 100-continue, x", "Content-Length: 0"), "expectation-unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, before := range []string{"", hidden} {
				f := newFront(t, bounds{})
				answers := f.raw(t, last(before+c.stream))
				want := len(before) / len(hidden)
				if len(answers) != want+1 || answers[want].status != 400 || !answers[want].close {
					t.Fatalf("answers %+v", answers)
				}
				service := ""
				if want == 1 {
					service = forwarded("GET", "/hidden", added...)
				}
				if got := f.echo.all(); got != service {
					t.Errorf("the service got %q, want %q", got, service)
				}
				e := f.events[len(f.events)-1]
				if len(f.events) != want+1 || e.Allowed || len(e.Trail) != 1 || e.Trail[0].Reasons[0].Code != c.code {
					t.Errorf("%d events, the last %+v, want %q", len(f.events), e.Trail, c.code)
				}
			}
		})
	}
}

// TestBrokenChunks holds that a body that can be read in two ways ends the connection and never completes
// towards the service.
func TestBrokenChunks(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"extension", "3;x=y\r\nabc\r\n0\r\n\r\n"},
		{"extension with a bare LF", "3;\nxx\r\n0\r\n\r\n"},
		{"bare LF after a size", "3\nabc\r\n0\r\n\r\n"},
		{"bare LF after a chunk", "3\r\nabc\n0\r\n\r\n"},
		{"bare LF at the end", "3\r\nabc\r\n0\n\n"},
		{"white space", "3 \r\nabc\r\n0\r\n\r\n"},
		{"prefix", "0x3\r\nabc\r\n0\r\n\r\n"},
		{"underscore", "0_3\r\nabc\r\n0\r\n\r\n"},
		{"negative", "-1\r\nabc\r\n0\r\n\r\n"},
		{"overflow", "ffffffffffffffff4\r\nabc\r\n0\r\n\r\n"},
		{"longer than it says", "3\r\nabcd\r\n0\r\n\r\n"},
		{"request in the trailer", "0\r\n" + hidden},
		{"NUL in the trailer", "0\r\nX: \x00\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, bounds{})
			answers := f.raw(t, last(hidden+head("Transfer-Encoding: chunked")+c.body))
			if len(answers) != 2 || answers[0].status != 200 || answers[1].status != 400 || !answers[1].close {
				t.Fatalf("answers %+v", answers)
			}
			got := f.echo.all()
			if !strings.HasPrefix(got, forwarded("GET", "/hidden", added...)) || strings.Contains(got, "0\r\n\r\n") || strings.Contains(got, "/last") {
				t.Errorf("the service got %q", got)
			}
		})
	}
}

// TestForwarding holds what the service gets of requests that pass.
func TestForwarding(t *testing.T) {
	fixed := append(slices.Clone(added), "Content-Length: 5", "", "hello")
	for _, c := range []struct{ name, stream, want string }{
		{"plain", "GET /a HTTP/1.1\r\nHost: " + host + "\r\n\r\n", forwarded("GET", "/a", added...)},
		{"fixed length", head("Content-Length: 5") + "hello", forwarded("POST", "/a", fixed...)},
		{"CL.0", head("Content-Length: "+itoa(len(hidden))) + hidden, forwarded("POST", "/a", append(slices.Clone(added), "Content-Length: "+itoa(len(hidden)), "", hidden)...)},
		{"0.CL", head("Content-Length: 0"), forwarded("POST", "/a", append(slices.Clone(added), "Content-Length: 0")...)},
		{"no length", head(), forwarded("POST", "/a", append(slices.Clone(added), "Content-Length: 0")...)},
		{
			"chunked", head("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			forwarded("POST", "/a", append(slices.Clone(added), "Transfer-Encoding: chunked", "", "5\r\nhello\r\n0\r\n\r\n")...),
		},
		{"empty line in front", "\r\nGET /a HTTP/1.1\r\nHost: " + host + "\r\n\r\n", forwarded("GET", "/a", added...)},
		{"absolute form", "GET https://" + host + "/a HTTP/1.1\r\nHost: " + host + "\r\n\r\n", forwarded("GET", "/a", added...)},
		{
			"claims and hops", "GET /a HTTP/1.1\r\nHost: " + host + "\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-User: root\r\nX-Palisade-Subject: root\r\nTE: gzip\r\n\r\n",
			forwarded("GET", "/a", added...),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, bounds{})
			answers := f.raw(t, last(c.stream))
			if got := statuses(answers); !slices.Equal(got, []int{200, 200}) {
				t.Fatalf("answers %v %+v", got, answers)
			}
			if got, want := f.echo.all(), c.want+forwarded("GET", "/last", added...); got != want {
				t.Errorf("the service got\n%q, want\n%q", got, want)
			}
		})
	}
}

// TestTargets holds that what a filter saw is what the service gets.
func TestTargets(t *testing.T) {
	for _, target := range []string{
		"/", "/a/", "/a%20b", "/%41%62", "/a+b", "/~a", "/%7ea", "/a:b@c", "/a!$&'()*,=b", "/%C3%A9", "/a?", "/a?x", "/a?x=", "/a?x=1&x=2", "/a?x=%26%3D", "/a?x=/../b",
		"/a?x=a+b%20c", "/a?%78=1", "/a?x=y?z", "/...a", "/a..b", "/a?x[]=1&y%5B%5D=2", "/a?redirect=https://evil.example/", "/a?&&x=1&", "/a?x=%e2%82%ac",
		"/..", "/a/../b", "/%2e%2e/b", "/a//b", "/a%2fb", "/a%5cb", "/a\\b", "/a;b=c", "/%252e", "/%00", "/a?x=%00", "/%ff", "/a#b", "/a?x=%zz", "/a%", "//evil.example/", "/a?x=\xc3\xa9",
	} {
		t.Run(target, func(t *testing.T) {
			f := newFront(t, bounds{})
			answers := f.raw(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			if len(answers) != 1 {
				t.Fatalf("answers %+v", answers)
			}
			if answers[0].status != 200 {
				if got := f.echo.all(); answers[0].status != 400 || got != "" || len(f.seen) != 0 {
					t.Errorf("answer %+v, the service got %q", answers[0], got)
				}
				t.Logf("refused: %s", f.events[0].Trail[0].Reasons[0].Code)
				return
			}
			s := f.seen[0]
			want := s.path
			if s.query != "" {
				want += "?" + s.query
			}
			if got := f.echo.all(); got != forwarded("GET", want, added...) || s.host != host {
				t.Errorf("a filter saw %+v, the service got %q", s, got)
			}
			t.Logf("forwarded as %s", want)
		})
	}
}
