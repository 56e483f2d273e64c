package h2io

import (
	"net/textproto"
	"strings"
)

// Names that most messages have, from the one form to the other. They are never written after their making.
var lowered, canonical = func() (down, up map[string]string) {
	down, up = map[string]string{}, map[string]string{}
	for name := range strings.FieldsSeq(`Accept Accept-Encoding Accept-Language Accept-Ranges Age Allow Authorization Cache-Control Content-Disposition
		Content-Encoding Content-Language Content-Length Content-Security-Policy Content-Type Cookie Date Etag Expires Forwarded Grpc-Accept-Encoding
		Grpc-Encoding Grpc-Message Grpc-Status Grpc-Timeout Last-Modified Link Location Origin Referer Referrer-Policy Retry-After Server Set-Cookie
		Strict-Transport-Security Te Traceparent Tracestate Trailer Txn-Token User-Agent Vary Www-Authenticate X-Content-Type-Options X-Forwarded-For
		X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Frame-Options X-Request-Id`) {
		down[name] = strings.ToLower(name)
		up[down[name]] = name
	}
	return down, up
}()

// Lower is a field's name as HTTP/2 writes it.
func Lower(name string) string {
	if l, ok := lowered[name]; ok {
		return l
	}
	return strings.ToLower(name)
}

// Canonical is the MIME form of a field's name that HTTP/2 wrote, which is a token.
func Canonical(name string) string {
	if c, ok := canonical[name]; ok {
		return c
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}
