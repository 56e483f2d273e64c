package route_test

import (
	"fmt"
	"testing"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/route"
)

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000} {
		var routes []string
		for i := range n / 2 {
			routes = append(routes, fmt.Sprintf("GET,HEAD shop.example/service%d/{id}/items/{item}", i), fmt.Sprintf("GET shop.example/service%d/**", i))
		}
		m := build(b, routes...)
		for name, path := range map[string]string{"params": "/service3/42/items/7", "rest": "/service3/42/other/7", "none": "/nothing/42"} {
			b.Run(fmt.Sprintf("routes=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				segments, params := segments(path), make([]proxy.Param, 0, 4)
				var r route.Result[string]
				for b.Loop() {
					r = m.Match("shop.example", "GET", segments, params)
				}
				_ = r
			})
		}
	}
}
