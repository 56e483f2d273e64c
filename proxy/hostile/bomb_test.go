package hostile_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
)

// TestBombs holds the answers to requests that are too large. None reaches the service whole.
func TestBombs(t *testing.T) {
	get := "GET /a HTTP/1.1\r\nHost: " + host + "\r\n"
	big := strings.Repeat("a", 40<<10)
	chunk := "8000\r\n" + strings.Repeat("a", 0x8000) + "\r\n"
	for _, c := range []struct {
		name, stream string
		status       int
		slug         string
	}{
		{"101 fields", get + strings.Repeat("X: y\r\n", 101) + "\r\n", 431, "header-too-large"},
		{"100,000 fields", get + strings.Repeat("X: y\r\n", 100_000) + "\r\n", 431, "header-too-large"},
		{"huge field", get + "X: " + big + "\r\n\r\n", 431, "header-too-large"},
		{"huge name", get + big + ": x\r\n\r\n", 431, "header-too-large"},
		{"huge cookie", get + "Cookie: a=" + big + "\r\n\r\n", 431, "header-too-large"},
		{"head without end", get + strings.Repeat("X: "+big[:1000]+"\r\n", 1000), 431, "header-too-large"},
		{"long target", "GET /" + big[:9000] + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 414, "target-too-long"},
		{"huge target", "GET /" + big + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 414, "target-too-long"},
		{"endless method", big, 414, "target-too-long"},
		{"1,001 parameters", "GET /a?" + strings.Repeat("x&", 1001) + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 400, "malformed-request"},
		{"declared body", head("Content-Length: 1048577") + big, 413, "content-too-large"},
		{"declared body of exabytes", head("Content-Length: 999999999999999999") + big, 413, "content-too-large"},
		{"declared body, asked first", head("Content-Length: 1048577", "Expect: 100-continue"), 413, "content-too-large"},
		{"chunked body", head("Transfer-Encoding: chunked") + strings.Repeat(chunk, 40) + "0\r\n\r\n", 413, "content-too-large"},
		{"chunk of petabytes", head("Transfer-Encoding: chunked") + "fffffffffffff\r\n" + strings.Repeat(big, 40), 413, "content-too-large"},
		{"endless trailer", head("Transfer-Encoding: chunked") + "0\r\nX: " + big, 400, "malformed-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, bounds{})
			answers := f.raw(t, c.stream)
			if len(answers) != 1 || answers[0].status != c.status || !strings.Contains(answers[0].body, engine.ProblemBase+c.slug) || !answers[0].close {
				t.Errorf("answers %+v", answers)
			}
			if got := f.echo.all(); got != "" && (!strings.HasPrefix(got, "POST /a ") || strings.HasSuffix(got, "0\r\n\r\n")) {
				t.Errorf("the service got %d bytes: %.300q", len(got), got)
			}
			if err := served(t.Context(), f.client(t)); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
}

// TestGzipPasses holds that the gateway does not unpack what it only forwards.
func TestGzipPasses(t *testing.T) {
	f := newFront(t, bounds{})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 100 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	answers := f.raw(t, last(head("Content-Encoding: gzip", "Content-Length: "+itoa(packed.Len()))+packed.String()))
	if got := statuses(answers); !slices.Equal(got, []int{200, 200}) {
		t.Fatalf("answers %+v", answers)
	}
	if !strings.Contains(f.echo.all(), packed.String()) {
		t.Error("the service got other bytes")
	}
	t.Logf("%d bytes that unpack to 100 MiB passed; heap before %.1f MiB, after %.1f MiB", packed.Len(), mib(before), mib(heap()))
}

// TestExpectations abuses 100-continue: asking and never sending, sending without waiting, asking for nothing.
func TestExpectations(t *testing.T) {
	f := newFront(t, bounds{table: func(t *engine.Table) { t.Pause, t.Body = time.Second, time.Second }})
	ask := func(length int) string { return head("Expect: 100-continue", "Content-Length: "+itoa(length)) }
	for _, c := range []struct {
		name, stream string
		want         []int
	}{
		{"not waiting", last(ask(5) + "hello"), []int{200, 200}},
		{"nothing", last(ask(0)), []int{200, 200}},
		{"asked twice", last(ask(5) + "hello" + ask(5) + "hello"), []int{200, 200, 200}},
		{"never sent", ask(5), []int{408}},
		{"half sent", ask(5) + "he", []int{408}},
		{"hidden request as body", last(ask(len(hidden)) + hidden), []int{200, 200}},
		{"refused, hidden request behind", "GET /a/../b HTTP/1.1\r\nHost: " + host + "\r\nExpect: 100-continue\r\nContent-Length: " + itoa(len(hidden)) + "\r\n\r\n" + hidden, []int{400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.reset()
			answers := f.raw(t, c.stream)
			if got := statuses(answers); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("answers %+v", answers)
			}
			if got := f.echo.all(); strings.Count(got, " /hidden ") != strings.Count(c.stream, " /hidden ") && c.want[0] == 200 || c.want[0] != 200 && strings.Contains(got, "hidden") {
				t.Errorf("the service got %q", got)
			}
		})
	}
}
