package listen

import (
	"io"
	"testing"
	"time"
)

// repeat delivers the same request at each read.
type repeat struct{ data string }

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.data), nil }

// BenchmarkGuard is what the guard adds to a small request (11 fields, 430 bytes).
func BenchmarkGuard(b *testing.B) {
	const browser = "GET /orders/1842?expand=items HTTP/1.1\r\nHost: shop.localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n" +
		"Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Connection: keep-alive\r\nReferer: https://shop.localhost/\r\nCookie: sid=0123456789abcdef\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\r\n"
	for name, request := range map[string]string{
		"get": browser, "chunked": many,
		"split": "", // the head comes in two reads
	} {
		b.Run(name, func(b *testing.B) {
			var r io.Reader = &repeat{request}
			if name == "split" {
				r = &halves{data: browser}
			}
			g := (&guards{limit: 32 << 10, header: time.Second}).guard(&feed{r: r})
			p := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Read(p); err != nil {
					b.Fatal(err)
				}
				_ = g.next()
			}
		})
	}
}

// halves delivers a request in two reads, again and again.
type halves struct {
	data   string
	second bool
}

func (h *halves) Read(p []byte) (int, error) {
	h.second = !h.second
	if h.second {
		return copy(p, h.data[:200]), nil
	}
	return copy(p, h.data[200:]), nil
}
