package proxy_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/palisade-security/palisade/proxy"
)

// TestBodyBuffer buffers bodies of every declaration, however their source gives the bytes.
func TestBodyBuffer(t *testing.T) {
	long := strings.Repeat("0123456789", 2_000)
	for name, tc := range map[string]struct {
		text          string
		length, limit int64
		err           error
	}{
		"none":             {"", 0, 10, nil},
		"declared":         {"0123456789", 10, 10, nil},
		"not declared":     {"0123456789", -1, 10, nil},
		"empty":            {"", -1, 0, nil},
		"long":             {long, -1, 1 << 20, nil},
		"long, declared":   {long, int64(len(long)), 1 << 20, nil},
		"no limit":         {long, -1, math.MaxInt64, nil},
		"too long":         {long, -1, int64(len(long)) - 1, proxy.ErrBodyTooLarge},
		"declared too big": {long, int64(len(long)), 10, proxy.ErrBodyTooLarge},
		"one too many":     {"x", -1, 0, proxy.ErrBodyTooLarge},
	} {
		for how, give := range map[string]func(io.Reader) io.Reader{
			"plain":        func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"end at once":  iotest.DataErrReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				b := proxy.NewBody(give(strings.NewReader(tc.text)), tc.length, tc.limit)
				got, err := b.Buffer(tc.limit)
				if !errors.Is(err, tc.err) || err == nil && string(got) != tc.text {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if err != nil {
					return
				}
				for range 2 {
					all, err := io.ReadAll(b)
					if err != nil || string(all) != tc.text || !b.Rewind() {
						t.Fatalf("read %d bytes, %v", len(all), err)
					}
				}
				if again, err := b.Buffer(tc.limit); err != nil || string(again) != tc.text || b.Length() != int64(len(tc.text)) || b.BytesRead() != int64(len(tc.text)) {
					t.Errorf("%d of %d bytes, %v", b.BytesRead(), b.Length(), err)
				}
			})
		}
	}
}

// TestBodyStream reads a body that nobody buffers.
func TestBodyStream(t *testing.T) {
	for _, limit := range []int64{10, math.MaxInt64} {
		b := proxy.NewBody(strings.NewReader("0123456789"), -1, limit)
		if all, err := io.ReadAll(b); err != nil || string(all) != "0123456789" || b.Rewind() {
			t.Errorf("%q, %v", all, err)
		}
	}
	b := proxy.NewBody(strings.NewReader("0123456789"), -1, 9)
	if _, err := io.ReadAll(b); !errors.Is(err, proxy.ErrBodyTooLarge) || !errors.Is(b.Err(), proxy.ErrBodyTooLarge) {
		t.Errorf("%v, %v", err, b.Err())
	}
}
