package attest

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestJoinToken(t *testing.T) {
	store := NewMemoryJoins()
	token, err := NewJoinToken(t.Context(), store, "node-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range store.records {
		if strings.Contains(token, string(record.Hash[:])) {
			t.Error("the store has more than a hash")
		}
	}
	proven, err := RedeemJoinToken(t.Context(), store, token)
	if err != nil || len(proven) != 1 || proven[0] != (Selector{Kind: JoinName, Value: "node-1"}) {
		t.Fatalf("proven %v, %v", proven, err)
	}
	if _, err := RedeemJoinToken(t.Context(), store, token); !errors.Is(err, ErrJoinToken) {
		t.Errorf("a second time: %v", err)
	}
}

func TestJoinTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryJoins()
		token, err := NewJoinToken(t.Context(), store, "node-1", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := RedeemJoinToken(t.Context(), store, token); !errors.Is(err, ErrJoinToken) {
			t.Errorf("after its time: %v", err)
		}
		if _, err := NewJoinToken(t.Context(), store, "node-2", time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := NewJoinToken(t.Context(), store, "node-3", time.Minute); err != nil {
			t.Fatal(err)
		}
		if len(store.records) != 1 {
			t.Errorf("%d records kept, want the one that counts", len(store.records))
		}
	})
}

// However many present one token at once, one gets in.
func TestJoinTokenIsUsedOnce(t *testing.T) {
	store := NewMemoryJoins()
	token, err := NewJoinToken(t.Context(), store, "node-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := RedeemJoinToken(t.Context(), store, token); err == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in", in.Load())
	}
}

func TestJoinTokenForm(t *testing.T) {
	store := NewMemoryJoins()
	token, err := NewJoinToken(t.Context(), store, "node-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{
		"empty":         "",
		"no prefix":     strings.TrimPrefix(token, joinPrefix),
		"padding":       token + "=",
		"cut":           token[:len(token)-1],
		"line break":    token[:20] + "\n" + token[21:],
		"trailing bits": token[:len(token)-1] + "_",
		"space":         token + " ",
	} {
		if _, err := RedeemJoinToken(t.Context(), store, other); !errors.Is(err, ErrJoinToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewJoinToken(t.Context(), store, "", time.Hour); err == nil {
		t.Error("a token for nobody")
	}
	if _, err := NewJoinToken(t.Context(), store, "node-1", 0); err == nil {
		t.Error("a token without time")
	}
}

func FuzzJoinToken(f *testing.F) {
	f.Add(joinPrefix + strings.Repeat("A", 43))
	f.Add(joinPrefix + strings.Repeat("\n", 43))
	f.Add("palisade-join-")
	f.Fuzz(func(t *testing.T, token string) {
		secret, err := parseJoinToken(token)
		if err != nil {
			if secret != [32]byte{} {
				t.Error("a secret beside an error")
			}
			return
		}
		// One secret has one token: no second spelling to slip past a log filter.
		if len(token) != len(joinPrefix)+43 || strings.ContainsAny(token, "\r\n=") {
			t.Errorf("token %q accepted", token)
		}
	})
}
