package egress_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/palisade-security/palisade/proxy/egress"
)

// hello is the ClientHello that crypto/tls sends.
func hello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	w := &wire{}
	c.InsecureSkipVerify = true
	_ = tls.Client(w, c).HandshakeContext(t.Context())
	return w.out.Bytes()
}

// wire is a connection on which nobody answers.
type wire struct {
	out bytes.Buffer
	in  io.Reader
}

func (w *wire) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *wire) Read(p []byte) (int, error) {
	if w.in == nil {
		return 0, io.EOF
	}
	return w.in.Read(p)
}
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

var errSeen = errors.New("seen")

// seenByServer is the name that crypto/tls reads; ok tells that it took the ClientHello.
func seenByServer(t testing.TB, in []byte) (name string, ok bool) {
	t.Helper()
	c := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, ok = h.ServerName, true
		return nil, errSeen
	}}
	_ = tls.Server(&wire{in: bytes.NewReader(in)}, c).HandshakeContext(t.Context())
	return name, ok
}

// records puts a handshake message into records of so many bytes.
func records(message []byte, size int) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

func TestServerName(t *testing.T) {
	whole := hello(t, &tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2"}})
	for name, in := range map[string][]byte{
		"as it is":                whole,
		"in records of one byte":  records(whole[5:], 1),
		"in records of 100 bytes": records(whole[5:], 100),
		"with what comes behind":  append(bytes.Clone(whole), 20, 3, 3, 0, 1, 1),
		"TLS 1.2":                 hello(t, &tls.Config{ServerName: "api.example.com", MaxVersion: tls.VersionTLS12}),
		"capitals":                hello(t, &tls.Config{ServerName: "API.Example.com"}),
		"post-quantum key shares": hello(t, &tls.Config{ServerName: "api.example.com", CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}}),
	} {
		for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in))} {
			if got, err := egress.ServerName(r); got != "api.example.com" || err != nil {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
		if got, _ := seenByServer(t, in); !strings.EqualFold(got, "api.example.com") {
			t.Errorf("%s: a server reads %q", name, got)
		}
	}
}

// TestOuterName holds that of an encrypted ClientHello the outer name counts.
func TestOuterName(t *testing.T) {
	key, _ := ecdh.X25519().GenerateKey(rand.Reader)
	contents := append([]byte{7, 0, 32, 0, 32}, key.PublicKey().Bytes()...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 0, 14)
	contents = append(append(contents, "public.example"...), 0, 0)
	config := append([]byte{0xfe, 0x0d, byte(len(contents) >> 8), byte(len(contents))}, contents...)
	list := append([]byte{byte(len(config) >> 8), byte(len(config))}, config...)
	in := hello(t, &tls.Config{ServerName: "secret.example", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: list})
	if len(in) == 0 {
		t.Fatal("no ClientHello")
	}
	if got, err := egress.ServerName(bytes.NewReader(in)); got != "public.example" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestServerNameRefuses(t *testing.T) {
	whole := hello(t, &tls.Config{ServerName: "api.example.com"})
	change := func(f func([]byte) []byte) []byte { return f(bytes.Clone(whole)) }
	for name, in := range map[string][]byte{
		"nothing":           nil,
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"),
		"SSL 2":             {0x80, 0x2e, 1, 3, 1},
		"no name":           hello(t, &tls.Config{}),
		"cut":               whole[:len(whole)-1],
		"an empty record":   append([]byte{22, 3, 1, 0, 0}, whole...),
		"a record too long": change(func(b []byte) []byte { b[3], b[4] = 0x40, 1; return b }),
		"too long":          append([]byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, make([]byte, 1<<17)...),
		"ServerHello":       change(func(b []byte) []byte { b[5] = 2; return b }),
		"another version":   change(func(b []byte) []byte { b[1] = 2; return b }),
		"a tail":            records(append(bytes.Clone(whole[5:]), 1, 0, 0, 0), 1<<14),
		"a NUL in the name": change(func(b []byte) []byte {
			return bytes.Replace(b, []byte("api.example.com"), []byte("api\x00example.com"), 1)
		}),
		"two dots": change(func(b []byte) []byte {
			return bytes.Replace(b, []byte("api.example.com"), []byte("api..xample.com"), 1)
		}),
		"a dot at the end": change(func(b []byte) []byte {
			return bytes.Replace(b, []byte("api.example.com"), []byte("api.example.co."), 1)
		}),
		"another name type": change(func(b []byte) []byte { i := bytes.Index(b, []byte("api.")); b[i-3] = 1; return b }),
		"a wrong length":    change(func(b []byte) []byte { i := bytes.Index(b, []byte("api.")); b[i-1]++; return b }),
	} {
		if got, err := egress.ServerName(bytes.NewReader(in)); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// FuzzServerName compares with crypto/tls: what we read it reads too, or refuses.
func FuzzServerName(f *testing.F) {
	for _, c := range []*tls.Config{{ServerName: "api.example.com"}, {}, {ServerName: "a.b", MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}} {
		in := hello(f, c)
		f.Add(in, uint16(1<<14))
		f.Add(in, uint16(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		if size > 0 && len(in) > 5 {
			compare(t, records(in[5:], int(size)))
		}
		compare(t, in)
	})
}

func compare(t *testing.T, in []byte) {
	t.Helper()
	ours, err := egress.ServerName(bytes.NewReader(in))
	theirs, ok := seenByServer(t, in)
	if err == nil && ok && !strings.EqualFold(ours, theirs) {
		t.Fatalf("we read %q, crypto/tls %q in %x", ours, theirs, in)
	}
	slow, slowErr := egress.ServerName(iotest.OneByteReader(bytes.NewReader(in)))
	if slow != ours || (slowErr == nil) != (err == nil) {
		t.Fatalf("%q, %v at once, %q, %v byte by byte", ours, err, slow, slowErr)
	}
}

func BenchmarkServerName(b *testing.B) {
	in := hello(b, &tls.Config{ServerName: "api.example.com"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := egress.ServerName(bytes.NewReader(in)); err != nil {
			b.Fatal(err)
		}
	}
}
