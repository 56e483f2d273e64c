package canon_test

import (
	"net/netip"
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

// browserGet is a request as a browser sends it: eleven fields, about 700 bytes.
func browserGet() *canon.Input {
	return request(func(in *canon.Input) {
		in.Target = "/orders/42/items?status=open&page=3"
		in.SNI = in.Host
		in.Header = h(
			"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
			"Accept-Encoding", "gzip, deflate, br, zstd",
			"Accept-Language", "en-GB,en;q=0.7,de;q=0.3",
			"Authorization", "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.c2lnbmF0dXJl",
			"Cache-Control", "no-cache",
			"Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark",
			"Referer", "https://shop.example/orders",
			"Sec-Fetch-Dest", "document",
			"Sec-Fetch-Mode", "navigate",
			"Sec-Fetch-Site", "same-origin",
			"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		)
	})
}

func BenchmarkCanonicalise(b *testing.B) {
	escaped := browserGet()
	escaped.Target = "/caf%c3%a9/a%20b?q=%27x%27+y&r=%C3%A9"
	for name, in := range map[string]*canon.Input{"clean": browserGet(), "escaped": escaped} {
		b.Run(name+"/fresh", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var out canon.Output
				if err := canon.Canonicalise(in, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/reused", func(b *testing.B) {
			b.ReportAllocs()
			var out canon.Output
			for b.Loop() {
				if err := canon.Canonicalise(in, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRebuild writes the fields that tell the service who connected.
func BenchmarkRebuild(b *testing.B) {
	client := netip.MustParseAddr("203.0.113.7")
	header := make(field.List, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		canon.Rebuild(&header, canon.Hop{Client: client, Peer: client, Scheme: "https", Host: "shop.example"})
	}
}
