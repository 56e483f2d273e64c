package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
)

// FuzzRequest holds the writer of requests against net/http's reader: whatever is written is read as one
// request, the same that was meant.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a%20b?c=d&e=%zz", "example.com:80", "X-A", "b", "", "", false)
	f.Add("POST", "//a//b", "[::1]", "Content-Length", "7", "hello", "X-T: 1", true)
	f.Add("PUT", "/", "h", "Transfer-Encoding", "chunked", "hello", "", false)
	f.Add("OPTIONS", "*", "h", "Trailer", "X-T", "hello", "X-T: 1", true)
	f.Add("GET", "/ HTTP/1.1\r\nX: y", "h\r\nX: y", "X\r\nY", "b\r\nC: d", "", "", false)
	f.Add("GET", "/", "h", "Te", "trailers", "", "", false)
	f.Fuzz(func(t *testing.T, method, target, host, name, value, body, trailer string, chunked bool) {
		r := &Request{Method: method, Target: target, Host: host, Header: field.List{{Name: name, Value: value}, {Name: "X-Last", Value: "z"}}}
		if body != "" {
			r.Body, r.Length = strings.NewReader(body), int64(len(body))
			r.Rewind = func() bool { return true }
		}
		tn, tv, _ := strings.Cut(trailer, ": ")
		if chunked && body != "" {
			r.Length = -1
			r.Trailer = func() field.List { return field.List{{Name: tn, Value: tv}} }
		}
		out, err := written(r, body)
		if err != nil {
			return
		}
		b := bufio.NewReaderSize(bytes.NewReader(out), 32<<10)
		got, err := http.ReadRequest(b)
		if err != nil {
			t.Fatalf("net/http refuses: %v\n%q", err, out)
		}
		gotBody, err := io.ReadAll(got.Body)
		if err != nil || string(gotBody) != body || b.Buffered() != 0 {
			t.Fatalf("body %q, %v, %d bytes left\n%q", gotBody, err, b.Buffered(), out)
		}
		if got.Method != method || got.RequestURI != target || got.Host != host {
			t.Fatalf("got %q %q %q\n%q", got.Method, got.RequestURI, got.Host, out)
		}
		checkFields(t, got, name, value)
		if want := strings.Trim(tv, " \t"); r.Trailer != nil && inTrailer(tn) && !slices.Equal(got.Trailer[textproto.CanonicalMIMEHeaderKey(tn)], []string{want}) {
			t.Fatalf("trailer %q\n%q", got.Trailer, out)
		}
	})
}

// written is what goes to the service, body and all.
func written(r *Request, body string) ([]byte, error) {
	w, err := newWire(new(sync.Pool), r, "")
	if err != nil || r.Length >= 0 {
		return bytes.Clone(w.sent()), err
	}
	buf := make([]byte, chunkHead+len(body)+chunkTail)
	copy(buf[chunkHead:], body)
	out := append(bytes.Clone(w.sent()), frameChunk(buf, len(body))...)
	end, err := appendTrailer(nil, r.Trailer())
	return append(out, end...), err
}

func (w *wire) sent() []byte {
	if w == nil {
		return nil
	}
	return w.bytes
}

func checkFields(t *testing.T, got *http.Request, name, value string) {
	t.Helper()
	want := http.Header{"X-Last": {"z"}}
	for _, own := range []string{"Content-Length", "Te", "Connection", "Cache-Control"} { // Cache-Control: made from Pragma
		if v := got.Header[own]; v != nil && !strings.EqualFold(name, own) {
			want[own] = v
		}
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch ownership(name) {
	case owned:
		want[name] = append([]string{strings.Trim(value, " \t")}, want[name]...)
	case ownedAlways, ownedTE, ownedTrailer:
		if v := got.Header[name]; v != nil {
			want[name] = v
		}
	}
	for n, v := range got.Header {
		if !slices.Equal(v, want[n]) {
			t.Fatalf("%s: %q, want %q", n, v, want[n])
		}
	}
	if len(got.Header) != len(want) {
		t.Fatalf("fields %q, want %q", got.Header, want)
	}
}
