package gate

import (
	"context"
	"net/http"
	"strings"

	"github.com/palisade-security/palisade/proxy"
)

// withoutMessages inspects calls of a gRPC service by everything but their body. Messages are binary frames in
// which text rules see attacks where none are, and a stream of them has no end to wait for. It is for services
// over HTTP/2 on routes that stream; a body of any other type is inspected as everywhere.
func withoutMessages(inspect proxy.Filter) proxy.Filter {
	return proxy.FilterFunc(func(ctx context.Context, r *proxy.Request) error {
		if r.Method != http.MethodPost || !isGRPC(r.Header.Get("Content-Type")) {
			return inspect.Filter(ctx, r)
		}
		body := r.Body
		defer func() { r.Body = body }()
		r.Body = proxy.NewBody(nil, 0, 0)
		return inspect.Filter(ctx, r)
	})
}

// isGRPC reports whether a body holds gRPC messages
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Content-Type).
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
