package stream

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzFollow holds that it does not matter in which pieces a client speaks, and that a line of its own never begins
// with what only a first line may.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("PUB a 3\r\nabc\r\nPING\r\nSUB a 1\r\n"), uint8(3))
	f.Add([]byte("HPUB a b 12 14\r\nNATS/1.0\r\n\r\nhi\r\nUNSUB 1\r\nPONG\r\n"), uint8(1))
	f.Add([]byte("PUB a 11\r\nCONNECT {}\n\r\nCONNECT {}\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		var whole, pieces natsState
		ok, okPieces := whole.follow(in), true
		for rest := in; len(rest) > 0 && okPieces; {
			n := min(len(rest), max(int(size), 1))
			okPieces = pieces.follow(rest[:n])
			rest = rest[n:]
		}
		if ok != okPieces || ok && whole != pieces {
			t.Fatalf("%t and %+v at once, %t and %+v in pieces", ok, whole, okPieces, pieces)
		}
		if ok && !lines(in) {
			t.Fatalf("%q was taken", in)
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
