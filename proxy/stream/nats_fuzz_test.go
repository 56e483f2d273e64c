package stream

import (
	"bytes"
	"iter"
	"strings"
	"testing"
)

// speak hands on what one side says in pieces of a size.
func speak(to natsSpeaker, in []byte, size int) (out []byte, rest natsLines, err error) {
	for err == nil && len(in) > 0 {
		n := min(len(in), size)
		out, err = rest.read(in[:n], out, to)
		in = in[n:]
	}
	return out, rest, err
}

// FuzzFollow holds that it does not matter in which pieces a client speaks, that a line of its own never begins
// with what only a first line may, and that it listens to no inbox but its own.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("PUB a 3\r\nabc\r\nPING\r\nSUB a 1\r\n"), uint8(3))
	f.Add([]byte("HPUB a b 12 14\r\nNATS/1.0\r\n\r\nhi\r\nUNSUB 1\r\nPONG\r\n"), uint8(1))
	f.Add([]byte("PUB a 11\r\nCONNECT {}\n\r\nCONNECT {}\r\n"), uint8(200))
	f.Add([]byte("SUB _INBOX.x.* 1\r\nSUB _INBOX.> q 2\r\nPUB a _INBOX.x.1 0\r\n\r\n"), uint8(7))
	f.Add([]byte("PUB $JS.API.CONSUMER.CREATE.S _INBOX.x.1 43\r\n{\"config\":{\"deliver_subject\":\"_INBOX.x.push\"}}\r\n"), uint8(9))
	client := &natsClient{natsInbox{own: own, all: "_INBOX.id"}}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		if len(in) == 0 {
			return
		}
		whole, restWhole, err := speak(client, in, len(in))
		pieces, restPieces, errPieces := speak(client, in, max(int(size), 1))
		if (err == nil) != (errPieces == nil) || err == nil && (!bytes.Equal(whole, pieces) || restWhole.left != restPieces.left) {
			t.Fatalf("%v and %q at once, %v and %q in pieces", err, whole, errPieces, pieces)
		}
		if err != nil {
			return
		}
		if !lines(in) {
			t.Fatalf("%q was taken", in)
		}
		if !lines(whole) {
			t.Fatalf("%q became %q", in, whole)
		}
		for line := range natsSubscriptions(whole) {
			if strings.HasPrefix(line, clientInbox) && !strings.HasPrefix(line, own+".") {
				t.Fatalf("%q became %q", in, whole)
			}
		}
	})
}

const own = "_INBOX.idA"

// natsSubscriptions are the subjects that a client asks for.
func natsSubscriptions(said []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		_, _, _ = speak(spy(yield), said, max(len(said), 1)) // it was taken before
	}
}

type spy func(string) bool

func (s spy) line(line, out []byte, lines *natsLines) ([]byte, error) {
	w, err := split(line)
	if err != nil {
		return nil, err
	}
	switch string(w.words[0]) {
	case "SUB":
		s(string(w.words[1]))
	case "PUB", "HPUB":
		return out, lines.expect(w.words[w.n-1])
	}
	return out, nil
}

func (spy) message(*natsWhole, []byte) ([]byte, error) { return nil, nil }

// FuzzBroker holds that it does not matter in which pieces a broker speaks, and that what a message holds is never
// taken for a line.
func FuzzBroker(f *testing.F) {
	f.Add([]byte("MSG a 1 3\r\nabc\r\nPING\r\n-ERR 'Permissions Violation for Publish to \"a\"'\r\n+OK\r\n"), uint8(3))
	f.Add([]byte("HMSG _INBOX.idA.x 1 b 12 14\r\nNATS/1.0\r\n\r\nhi\r\nINFO {}\r\nPONG\r\n"), uint8(1))
	f.Add([]byte("MSG a 1 50\r\n-ERR 'Permissions Violation for Publish to \"a.b.c\"'\r\nx\r\n"), uint8(20))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		said := func(size int) (string, []byte, error) {
			var heard strings.Builder
			out, _, err := speak(&natsBroker{natsInbox{own: own, all: "_INBOX.id"}, func(verb, subject string) { heard.WriteString(verb + subject) }}, in, size)
			return heard.String(), out, err
		}
		heard, whole, err := said(max(len(in), 1))
		heardPieces, pieces, errPieces := said(max(int(size), 1))
		if (err == nil) != (errPieces == nil) || err == nil && (heard != heardPieces || !bytes.Equal(whole, pieces)) {
			t.Fatalf("%v, %q and %q at once, %v, %q and %q in pieces", err, heard, whole, errPieces, heardPieces, pieces)
		}
		if !bytes.Contains(in, []byte("\r\n-ERR")) && !bytes.HasPrefix(in, []byte("-ERR")) && heard != "" {
			t.Fatalf("heard %q in %q", heard, in)
		}
	})
}

// lines reads the same the simple way.
func lines(in []byte) bool {
	for len(in) > 0 {
		line, rest, whole := bytes.Cut(in, []byte("\r\n"))
		if !whole {
			return true
		}
		words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 {
			return false
		}
		switch words[0] {
		case "PUB", "HPUB":
			n := 0
			for _, c := range words[len(words)-1] {
				n = 10*n + int(c-'0')
			}
			if len(rest) < n+2 {
				return true
			}
			if string(rest[n:n+2]) != "\r\n" {
				return false
			}
			rest = rest[n+2:]
		case "SUB", "UNSUB", "PING", "PONG":
		default:
			return false
		}
		in = rest
	}
	return true
}

// FuzzConnect holds that nothing a client says of itself reaches the broker.
func FuzzConnect(f *testing.F) {
	f.Add([]byte(`CONNECT {"verbose":false,"name":"a","protocol":1,"tls_required":true}`))
	f.Add([]byte(`CONNECT {"user":"","auth_token":null,"lang":"go","headers":true}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := readConnect(in)
		if err != nil {
			return
		}
		c.Token = "the token"
		line, err := c.line()
		if err != nil || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%q, %v", line, err)
		}
		again, err := objectMembers(bytes.TrimSuffix(line[len("CONNECT "):], []byte("\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		for name := range again {
			if claims(name) && (name != "auth_token" || string(again[name]) != `"the token"`) {
				t.Fatalf("%q stands in %q", name, line)
			}
		}
	})
}

// FuzzInfo holds that nothing leads a client past the mesh.
func FuzzInfo(f *testing.F) {
	f.Add([]byte(`INFO {"server_id":"A","connect_urls":["10.0.0.1:4222"],"tls_available":true,"auth_required":true,"nonce":"x","max_payload":1048576}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := rewriteInfo(in)
		if err != nil {
			return
		}
		members, err := objectMembers(bytes.TrimSuffix(out[len("INFO "):], []byte("\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"connect_urls", "ws_connect_urls", "tls_required", "tls_available", "auth_required", "nonce"} {
			if _, ok := members[name]; ok {
				t.Fatalf("%q stands in %q", name, out)
			}
		}
	})
}

// BenchmarkNATSLines is what it costs to follow what a client says: requests of 128 bytes, in pieces of 64 KiB.
func BenchmarkNATSLines(b *testing.B) {
	one := append([]byte("PUB orders.created _INBOX.AbCdEfGhIjKlMnOpQrStUv.1 128\r\n"), append(bytes.Repeat([]byte("x"), 128), "\r\n"...)...)
	in := bytes.Repeat(one, bulkBuffer/len(one))
	client, out := &natsClient{natsInbox{own: own, all: "_INBOX.id"}}, []byte(nil)
	var lines natsLines
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		var err error
		if out, err = lines.read(in, out[:0], client); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(bulkBuffer/len(one))), "ns/message")
}
