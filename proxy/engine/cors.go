package engine

import (
	"net/http"
	"slices"

	"github.com/palisade-security/palisade/proxy/route"
)

// preflight answers a CORS preflight (https://fetch.spec.whatwg.org/#cors-preflight-request) for routes that
// declare origins. It reports whether the request was one.
func (x *exchange) preflight(allow []string) bool {
	r := &x.req
	want := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || want == "" || !slices.Contains(allow, want) {
		return false
	}
	m := x.table.Matcher.Match(r.Host, want, r.Segments, r.Params[:0])
	if m.Outcome != route.Found || !slices.Contains(m.Value.CORS, r.Header.Get("Origin")) {
		return false
	}
	x.route = m.Value
	h := x.w.Header()
	x.commonHeader(h)
	h.Set("Access-Control-Allow-Methods", joinList(allow))
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Traceparent")
	h.Set("Access-Control-Max-Age", "600")
	x.route = nil
	x.answered = true
	x.ev.Status = http.StatusNoContent
	x.w.WriteHeader(http.StatusNoContent)
	return true
}

// allowOrigin lets a declared origin read the answer. A service never widens that by itself.
func (x *exchange) allowOrigin(h http.Header) {
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
		delete(h, name)
	}
	if x.route == nil || len(x.route.CORS) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	if origin := x.req.Header.Get("Origin"); slices.Contains(x.route.CORS, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}
