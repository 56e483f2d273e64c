package engine

import (
	"context"
	"net/http"

	"github.com/palisade-security/palisade/proxy/canon"
)

// ServeRefused answers and records a request that never reached net/http because its bytes can be read in two
// ways. Hr stands in for it: nothing in hr but the connection is the client's.
func (e *Engine) ServeRefused(w http.ResponseWriter, hr *http.Request, why *canon.Refusal) {
	e.serve(w, hr, why)
}

// switchKey is the key of a connection's switch in its context.
type switchKey struct{}

// WithSwitch gives the requests of a connection the function that lets the connection change its protocol. It
// returns false if the client has already sent what belongs to the new one.
func WithSwitch(ctx context.Context, f func() bool) context.Context {
	return context.WithValue(ctx, switchKey{}, f)
}

// maySwitch reports whether the connection may change its protocol now; then it does.
func maySwitch(ctx context.Context) bool {
	f, ok := ctx.Value(switchKey{}).(func() bool)
	return !ok || f()
}
