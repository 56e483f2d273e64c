package egress_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/palisade-security/palisade/proxy/egress"
)

func TestRequestHost(t *testing.T) {
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n":                                        "api.example.com",
		"POST /a?b HTTP/1.0\r\nA: b\r\nhost:\tAPI.example.com:80 \r\nContent-Length: 1\r\n\r\nx": "api.example.com",
		"OPTIONS * HTTP/1.1\r\nHost: [2620:fe::fe]\r\n\r\n":                                      "2620:fe::fe",
	} {
		for _, r := range []string{in, in + "Host: evil\r\n\r\n"} {
			if got, err := egress.RequestHost(strings.NewReader(r), 80); got != want || err != nil {
				t.Errorf("%q: got %q, %v", r, got, err)
			}
			if got, err := egress.RequestHost(iotest.OneByteReader(strings.NewReader(r)), 80); got != want || err != nil {
				t.Errorf("%q byte by byte: got %q, %v", r, got, err)
			}
		}
	}
	for _, in := range []string{
		"", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.b\r\nHost: a.b\r\n\r\n", "GET / HTTP/1.1\r\nHost : a.b\r\n\r\n", "GET / HTTP/1.1\r\nX: y\r\n Host: a.b\r\n\r\n",
		"GET / HTTP/1.1\nHost: a.b\n\n", "GET / HTTP/1.1\r\nHost: a.b\n\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b\rX: y\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\x00.b\r\n\r\n",
		"CONNECT a.b:80 HTTP/1.1\r\nHost: a.b\r\n\r\n", "CONNECT / HTTP/1.1\r\nHost: a.b\r\n\r\n", "GET http://evil/ HTTP/1.1\r\nHost: a.b\r\n\r\n", "GET evil HTTP/1.1\r\nHost: a.b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.b:81\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b, evil\r\n\r\n", "GET / HTTP/1.1\r\nHost: u@a.b\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: a.b\r\n\r\n", "GET / x HTTP/1.1\r\nHost: a.b\r\n\r\n", "GET / HTTP/1.2\r\nHost: a.b\r\n\r\n", " GET / HTTP/1.1\r\nHost: a.b\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\nHost: a.b\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b.\r\n\r\n",
		"GET / HTTP/1.1\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 40) + "Host: a.b\r\n\r\n",
	} {
		if got, err := egress.RequestHost(strings.NewReader(in), 80); err == nil {
			t.Errorf("%q: got %q", in, got)
		}
	}
	if got, err := egress.RequestHost(strings.NewReader("GET / HTTP/1.1\r\nHost: a.b\r\n\r\n"), 8080); err == nil {
		t.Errorf("got %q for another port", got)
	}
}

// FuzzRequestHost compares with net/http: what we read it reads too, or refuses.
func FuzzRequestHost(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"))
	f.Add([]byte("POST /a HTTP/1.0\r\nA: b\r\nhost:\tAPI.example.com:80 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: [2620:fe::fe]:80\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, err := egress.RequestHost(bytes.NewReader(in), 80)
		slow, slowErr := egress.RequestHost(iotest.OneByteReader(bytes.NewReader(in)), 80)
		if slow != ours || (slowErr == nil) != (err == nil) {
			t.Fatalf("%q, %v at once, %q, %v byte by byte", ours, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		r, failed := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if failed != nil {
			return
		}
		theirs := strings.Trim(strings.ToLower(strings.TrimSuffix(r.Host, ":80")), "[]")
		if theirs != ours && !strings.Contains(ours, ":") {
			t.Fatalf("we read %q, net/http %q in %q", ours, theirs, in)
		}
	})
}
