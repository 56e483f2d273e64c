package engine

import (
	"context"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy/field"
)

// blank is a recorder that keeps nothing.
type blank struct{}

func (blank) Durable(context.Context, *event.Event) error { return nil }
func (blank) Observe(*event.Event)                        {}

// BenchmarkFill is what the engine itself does for the record of a request: its ids, the event, redaction.
func BenchmarkFill(b *testing.B) {
	x := &exchange{}
	x.start(b.Context(), New(blank{}), &Table{Version: "v1", Fleet: "shop", Redactor: event.NewRedactor(nil)}, &Call{
		Conn: NewConn("public", "203.0.113.7:51234", nil), Method: "GET", Target: "/items/7", Proto: "HTTP/1.1", Header: field.List{{Name: "User-Agent", Value: "curl/8.5.0"}},
	})
	r := &x.req
	r.Method, r.Scheme, r.Host, r.Path = "GET", "https", "shop.example", "/items/7"
	r.Trail = []event.Stage{
		{Name: event.StageRoute, Outcome: event.OutcomePass},
		{Name: event.StageAuthenticate, Outcome: event.OutcomePass, Reasons: []event.Reason{
			{Code: "anonymous", Text: "no token was sent; the route lets anyone in"},
		}},
	}
	b.Run("ids", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.identify()
		}
	})
	b.Run("finish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.finish()
		}
	})
}
