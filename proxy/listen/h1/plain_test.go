package h1

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

type plainRequest struct {
	method, target, proto, body string
	header                      http.Header
	cut                         bool
}

// plainRead reads a request by searching and splitting alone.
func plainRead(t *testing.T, rest *string) plainRequest {
	t.Helper()
	head, after, ok := strings.Cut(*rest, "\r\n\r\n")
	if !ok {
		t.Fatalf("an incomplete head passed: %q", *rest)
	}
	lines := strings.Split(head, "\r\n")
	first := strings.Split(lines[0], " ")
	if len(first) != 3 {
		t.Fatalf("request line %q passed", lines[0])
	}
	r := plainRequest{method: first[0], target: first[1], proto: first[2], header: http.Header{}}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		r.header.Add(name, strings.Trim(value, " \t"))
	}
	*rest = after
	if r.header.Get("Transfer-Encoding") != "" {
		r.readChunks(rest)
		return r
	}
	n := 0
	_, _ = fmt.Sscanf(r.header.Get("Content-Length"), "%d", &n)
	r.cut = n > len(after)
	n = min(n, len(after))
	r.body, *rest = after[:n], after[n:]
	return r
}

func (r *plainRequest) readChunks(rest *string) {
	for {
		size, after, ok := strings.Cut(*rest, "\r\n")
		if !ok {
			r.cut, *rest = true, ""
			return
		}
		var n int64
		_, _ = fmt.Sscanf(size, "%x", &n)
		if n == 0 {
			break
		}
		if int64(len(after)) < n+2 {
			r.body += after[:min(n, int64(len(after)))]
			r.cut, *rest = true, ""
			return
		}
		r.body += after[:n]
		*rest = after[n+2:]
	}
	_, after, _ := strings.Cut(*rest, "\r\n")
	if left, ok := strings.CutPrefix(after, "\r\n"); ok {
		*rest = left
		return
	}
	_, left, ok := strings.Cut(after, "\r\n\r\n")
	r.cut, *rest = !ok, left
}
