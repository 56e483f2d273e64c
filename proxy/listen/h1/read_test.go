package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

const hang = time.Minute

// feed is a connection that delivers what r does, and keeps what is written.
type feed struct {
	net.Conn
	r   io.Reader
	out bytes.Buffer
}

func (f *feed) Read(p []byte) (int, error)       { return f.r.Read(p) }
func (f *feed) Write(p []byte) (int, error)      { return f.out.Write(p) }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }
func (f *feed) Close() error                     { return nil }

// splits delivers data in pieces of random sizes.
type splits struct {
	data []byte
	rand *rand.Rand
}

func (s *splits) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	most := min(len(p), len(s.data))
	if s.rand.IntN(4) > 0 {
		most = min(most, 1+s.rand.IntN(40))
	}
	n := copy(p[:most], s.data)
	s.data = s.data[n:]
	return n, nil
}

// seen is what the handler got of a request.
type seen struct {
	method, target, host, proto, body string
	header                            field.List
	length                            int64
	code                              string // of the refusal
	inBody                            bool   // which came as an error of the body
	cut                               bool   // the body broke off
}

// drive serves c on the calling goroutine and returns what the handler saw.
func drive(t testing.TB, c net.Conn) []seen {
	t.Helper()
	var all []seen
	s := New(Options{HeaderBytes: 1 << 10, Header: hang, Idle: hang, Handler: engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
		n := seen{method: c.Method, target: c.Target, host: c.Host, proto: c.Proto, header: c.Header.Clone(), length: c.Length}
		status := http.StatusOK
		if c.Refused != nil {
			n.code, status = c.Refused.Code, c.Refused.Kind.Status
		}
		if c.Body != nil {
			body, err := io.ReadAll(c.Body)
			n.body = string(body)
			if why, ok := errors.AsType[*canon.Refusal](err); ok {
				n.code, n.inBody, status = why.Code, true, why.Kind.Status
			} else if n.cut = err != nil; n.cut && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("body error %v", err)
			}
		}
		all = append(all, n)
		c.Answer.Begin(status, nil, 0)
		return true
	})})
	k := newConn(s, c, engine.NewConn("test", "192.0.2.1:1", nil))
	k.ctx, k.cancel = context.WithCancel(t.Context())
	k.serve()
	return all
}

func TestReads(t *testing.T) {
	for i, s := range passing {
		want := strings.Count(s, " HTTP/1.")
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(s), "byte by byte": iotest.OneByteReader(strings.NewReader(s))} {
			t.Run(fmt.Sprintf("%d %s", i, name), func(t *testing.T) {
				all := drive(t, &feed{r: r})
				if len(all) != want {
					t.Fatalf("%q: %+v", s, all)
				}
				compare(t, s, all)
			})
		}
	}
	if all := drive(t, &feed{r: strings.NewReader("\r\n" + get + "\r\n" + post)}); len(all) != 2 || all[1].code != "" {
		t.Errorf("one empty line: %+v", all)
	}
	if all := drive(t, &feed{r: strings.NewReader(get + "GET / HTT")}); len(all) != 1 || all[0].code != "" {
		t.Errorf("cut head: %+v", all)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range refusing {
		t.Run(c.name, func(t *testing.T) {
			for n, before := range map[int]string{0: "", 2: post + get, 1: many} {
				all := drive(t, &feed{r: strings.NewReader(before + c.stream + get)})
				if len(all) != n+1 || all[n].code != c.code || all[n].inBody {
					t.Errorf("got %+v, want %q", all, c.code)
				}
				if again := drive(t, &feed{r: iotest.OneByteReader(strings.NewReader(before + c.stream + get))}); fmt.Sprint(again) != fmt.Sprint(all) {
					t.Errorf("byte by byte: got %+v, at once %+v", again, all)
				}
			}
		})
	}
}

func TestBreaksBodies(t *testing.T) {
	for _, c := range breaking {
		t.Run(c.name, func(t *testing.T) {
			s := get + chunked(c.body) + get
			all := drive(t, &feed{r: strings.NewReader(s)})
			if len(all) != 2 || all[1].code != c.code || !all[1].inBody {
				t.Errorf("got %+v, want %q", all, c.code)
			}
			if again := drive(t, &feed{r: iotest.OneByteReader(strings.NewReader(s))}); fmt.Sprint(again) != fmt.Sprint(all) {
				t.Errorf("byte by byte: got %+v, at once %+v", again, all)
			}
		})
	}
}

// FuzzRead holds that what passes is read by net/http as here and by a plain reader, however the bytes are split.
func FuzzRead(f *testing.F) {
	for _, s := range passing {
		f.Add([]byte(s), uint64(1))
	}
	for _, c := range refusing {
		f.Add([]byte(c.stream), uint64(2))
		f.Add([]byte(post+c.stream), uint64(3))
	}
	for _, c := range breaking {
		f.Add([]byte(chunked(c.body)), uint64(4))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		all := drive(t, &feed{r: bytes.NewReader(data)})
		random := rand.New(rand.NewPCG(seed, 1))
		if again := drive(t, &feed{r: &splits{data: bytes.Clone(data), rand: random}}); fmt.Sprint(again) != fmt.Sprint(all) {
			t.Fatalf("at once %+v, in pieces %+v", all, again)
		}
		compare(t, string(data), all)
	})
}

// compare holds that net/http and a plain reader of the RFC find in rest what was seen.
func compare(t *testing.T, rest string, all []seen) {
	t.Helper()
	for i, got := range all {
		if got.code != "" {
			return // whatever others make of it
		}
		rest = strings.TrimPrefix(rest, "\r\n")
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(rest)))
		if err != nil {
			t.Fatalf("request %d, %+v: net/http says %v", i, got, err)
		}
		want := plainRead(t, &rest)
		body, err := io.ReadAll(r.Body)
		if got.cut != (err != nil) || got.cut != want.cut || got.body != string(body) || got.body != want.body {
			t.Fatalf("request %d, %+v: net/http has body %q and %v, want %+v", i, got, body, err, want)
		}
		if got.method != r.Method || got.target != r.RequestURI || got.proto != r.Proto || got.host != r.Host || got.length != r.ContentLength {
			t.Fatalf("request %d, %+v: net/http has %s %s %s %s %d", i, got, r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength)
		}
		if got.method != want.method || got.target != want.target || got.proto != want.proto {
			t.Fatalf("request %d, %+v: want %+v", i, got, want)
		}
		compareFields(t, r, got, want)
	}
}

func compareFields(t *testing.T, r *http.Request, got seen, want plainRequest) {
	t.Helper()
	here := http.Header{}
	for _, f := range got.header {
		here.Add(f.Name, f.Value)
	}
	want.header.Del("Host")
	if fmt.Sprint(here) != fmt.Sprint(want.header) {
		t.Fatalf("fields %q, want %q", here, want.header)
	}
	have := r.Header.Clone()
	if r.TransferEncoding != nil {
		have["Transfer-Encoding"] = r.TransferEncoding
	}
	for _, name := range []string{"Trailer", "Pragma", "Cache-Control"} { // net/http rewrites these
		have.Del(name)
		here.Del(name)
	}
	if fmt.Sprint(have) != fmt.Sprint(here) {
		t.Fatalf("net/http has fields %q, here %q", have, here)
	}
}
