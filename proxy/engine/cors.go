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
	x.commonHeader()
	x.head.Add("Access-Control-Allow-Methods", joinList(allow))
	x.head.Add("Access-Control-Allow-Headers", "Authorization, Content-Type, Traceparent")
	x.head.Add("Access-Control-Max-Age", "600")
	x.route = nil
	x.begin(http.StatusNoContent, 0)
	return true
}

// allowOrigin lets a declared origin read the answer. A service never widens that by itself.
func (x *exchange) allowOrigin() {
	if x.route == nil || len(x.route.CORS) == 0 {
		return
	}
	x.head.Add("Vary", "Origin")
	if origin := x.req.Header.Get("Origin"); slices.Contains(x.route.CORS, origin) {
		x.head.Add("Access-Control-Allow-Origin", origin)
		x.head.Add("Access-Control-Allow-Credentials", "true")
	}
}
