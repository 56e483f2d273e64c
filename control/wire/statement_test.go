package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func keys(tb testing.TB) map[string]crypto.Signer {
	tb.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]crypto.Signer{"P-256": p256, "Ed25519": ed}
}

func statement() *Statement {
	return &Statement{
		Kind: Slice, Domain: "shop.example", For: "spiffe://shop.example/service/orders", Order: Order{2, 7}, Version: "abc",
		Made: time.Now().UTC().Truncate(time.Second), Body: json.RawMessage(`{"a":1}`),
	}
}

// TestEveryBit holds that no bit of a statement can be changed, nor anything added.
func TestEveryBit(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			data, err := NewSealer(key).Sign(statement())
			if err != nil {
				t.Fatal(err)
			}
			public := []crypto.PublicKey{key.Public()}
			st, err := Open(data, public)
			if err != nil || string(st.Body) != `{"a":1}` || st.Order != (Order{2, 7}) || !st.Made.Equal(statement().Made) {
				t.Fatalf("%+v: %v", st, err)
			}
			for i := range len(data) * 8 {
				changed := bytes.Clone(data)
				changed[i/8] ^= 1 << (i % 8)
				if _, err := Open(changed, public); err == nil {
					t.Fatalf("bit %d can be changed", i)
				}
			}
			for name, changed := range map[string][]byte{"longer": append(bytes.Clone(data), 0), "shorter": data[:len(data)-1], "empty": nil} {
				if _, err := Open(changed, public); err == nil {
					t.Errorf("%s is taken", name)
				}
			}
			for other, key := range keys(t) {
				if _, err := Open(data, []crypto.PublicKey{key.Public()}); !errors.Is(err, ErrForged) {
					t.Errorf("by another %s key: %v", other, err)
				}
			}
			if _, err := Open(data, nil); !errors.Is(err, ErrForged) {
				t.Errorf("without keys: %v", err)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		a, b  Order
		after bool
	}{
		{Order{1, 2}, Order{1, 1}, true},
		{Order{1, 1}, Order{1, 1}, false},
		{Order{2, 0}, Order{1, 9}, true},
		{Order{1, 9}, Order{2, 0}, false},
	} {
		if c.a.After(c.b) != c.after {
			t.Errorf("%v after %v: %v", c.a, c.b, !c.after)
		}
	}
}

// FuzzOpen holds that what nobody has signed is refused, whatever it is.
func FuzzOpen(f *testing.F) {
	key := keys(f)["P-256"]
	data, err := NewSealer(key).Sign(statement())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:len(data)-1])
	f.Add([]byte("PLS1\x00\x00"))
	f.Add([]byte("PLS1\xff\xff"))
	public := []crypto.PublicKey{key.Public()}
	f.Fuzz(func(t *testing.T, data []byte) {
		if st, err := Open(data, public); err == nil {
			t.Fatalf("taken: %+v", st)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, st := NewSealer(keys(b)["P-256"]), statement()
	st.Body = encodeBody(b, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	key := keys(b)["P-256"]
	st := statement()
	st.Body = encodeBody(b, 4<<10)
	data, err := NewSealer(key).Sign(st)
	if err != nil {
		b.Fatal(err)
	}
	public := []crypto.PublicKey{key.Public()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(data, public); err != nil {
			b.Fatal(err)
		}
	}
}

func encodeBody(b *testing.B, size int) json.RawMessage {
	b.Helper()
	data, err := json.Marshal(rand.Text() + string(bytes.Repeat([]byte("route "), size/6)))
	if err != nil {
		b.Fatal(err)
	}
	return data
}
