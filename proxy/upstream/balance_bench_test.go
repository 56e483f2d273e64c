package upstream

import (
	"fmt"
	"testing"
)

// BenchmarkBalance is what balancing itself costs a request: the circuit, the choice, the record.
func BenchmarkBalance(b *testing.B) {
	for _, n := range []int{1, 3, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			balancer, members := play(n, Options{})
			answer := &Response{Status: 200}
			for _, m := range members {
				m.answer = func() (*Response, again, error) { return answer, never, nil }
			}
			r := &Request{Method: "GET"}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = balancer.Do(b.Context(), r)
			}
		})
	}
	b.Run("open", func(b *testing.B) {
		balancer, _ := play(3, Options{})
		balancer.circuit.open(balancer.circuit.began.AddDate(3000, 0, 0))
		r := &Request{Method: "GET"}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = balancer.Do(b.Context(), r)
		}
	})
}
