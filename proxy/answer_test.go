package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/palisade-security/palisade/proxy"
)

func TestAnswerPeek(t *testing.T) {
	broken := errors.New("broken")
	long := strings.Repeat("0123456789", 3000)
	for name, c := range map[string]struct {
		src   io.Reader
		limit int
		begin string
		whole bool
		err   error
		rest  string // what is read afterwards
	}{
		"empty":               {src: strings.NewReader(""), limit: 10, whole: true},
		"shorter":             {src: strings.NewReader("abc"), limit: 10, begin: "abc", whole: true, rest: "abc"},
		"exactly":             {src: strings.NewReader("abc"), limit: 3, begin: "abc", whole: true, rest: "abc"},
		"longer":              {src: strings.NewReader("abcd"), limit: 3, begin: "abc", rest: "abcd"},
		"byte by byte":        {src: iotest.OneByteReader(strings.NewReader("abcd")), limit: 3, begin: "abc", rest: "abcd"},
		"data with its end":   {src: iotest.DataErrReader(strings.NewReader("abc")), limit: 3, begin: "abc", whole: true, rest: "abc"},
		"long":                {src: strings.NewReader(long), limit: 20000, begin: long[:20000], rest: long},
		"breaks in the limit": {src: io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), limit: 3, err: broken, rest: "ab"},
		"breaks beyond it":    {src: io.MultiReader(strings.NewReader("abcd"), iotest.ErrReader(broken)), limit: 3, begin: "abc", rest: "abcd"},
		"cut off":             {src: io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF)), limit: 3, err: io.ErrUnexpectedEOF, rest: "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			a := proxy.NewAnswer(200, "HTTP/1.1", nil, c.src)
			begin, whole, err := a.Peek(c.limit)
			if !errors.Is(err, c.err) {
				t.Fatalf("got error %v, want %v", err, c.err)
			}
			if err == nil && (string(begin) != c.begin || whole != c.whole) {
				t.Errorf("got %d bytes, whole %t; want %d, %t", len(begin), whole, len(c.begin), c.whole)
			}
			rest, err := io.ReadAll(a)
			if string(rest) != c.rest {
				t.Errorf("then read %d bytes, want %d", len(rest), len(c.rest))
			}
			if (err != nil) != strings.HasPrefix(name, "breaks") && name != "cut off" {
				t.Errorf("reading on: %v", err)
			}
		})
	}
}

func TestBufferTooLarge(t *testing.T) {
	t.Run("bytes are gone", func(t *testing.T) {
		b := proxy.NewBody(strings.NewReader("0123456789"), -1, 100)
		if _, err := b.Buffer(4); !errors.Is(err, proxy.ErrBodyTooLarge) {
			t.Fatalf("got %v", err)
		}
		if !errors.Is(b.Err(), proxy.ErrBodyTooLarge) {
			t.Errorf("Err forgets that bytes are gone: %v", b.Err())
		}
		if n, err := b.Read(make([]byte, 8)); n != 0 || !errors.Is(err, proxy.ErrBodyTooLarge) {
			t.Errorf("read %d bytes behind lost ones, %v", n, err)
		}
		if _, err := b.Buffer(100); !errors.Is(err, proxy.ErrBodyTooLarge) {
			t.Errorf("buffered behind lost bytes: %v", err)
		}
	})
	t.Run("declared length", func(t *testing.T) {
		b := proxy.NewBody(strings.NewReader("0123456789"), 10, 100)
		if _, err := b.Buffer(4); !errors.Is(err, proxy.ErrBodyTooLarge) {
			t.Fatalf("got %v", err)
		}
		if b.Err() != nil {
			t.Errorf("nothing was read, yet %v", b.Err())
		}
		if all, err := io.ReadAll(b); err != nil || !bytes.Equal(all, []byte("0123456789")) {
			t.Errorf("read %q, %v", all, err)
		}
	})
	t.Run("source breaks", func(t *testing.T) {
		b := proxy.NewBody(io.MultiReader(strings.NewReader("01"), iotest.ErrReader(io.ErrUnexpectedEOF)), 10, 100)
		if _, err := b.Buffer(50); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("got %v", err)
		}
		if n, err := b.Read(make([]byte, 8)); n != 0 || err == nil {
			t.Errorf("read %d bytes behind lost ones, %v", n, err)
		}
	})
}
