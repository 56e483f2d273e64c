package openapi

import (
	"slices"
	"strings"
)

// knownHeaders are fields of requests that belong to HTTP, browsers, proxies and tracing, and to no API (IANA's registry of field
// names; W3C Trace Context and Baggage). What begins with one of knownPrefixes does so, too.
const (
	knownHeaders = `a-im accept accept-charset accept-encoding accept-language accept-datetime alt-used authorization baggage cache-control
connection content-digest content-disposition content-encoding content-language content-length content-location content-md5 content-type cookie date
depth device-memory dnt downlink dpop dpr early-data expect forwarded from host http2-settings idempotency-key if if-match if-modified-since
if-none-match if-range if-unmodified-since keep-alive last-event-id link max-forwards origin pragma prefer priority proxy-authorization proxy-connection
purpose range referer repr-digest rtt save-data service-worker signature signature-input te trace traceparent tracestate traceresponse trailer
transfer-encoding upgrade upgrade-insecure-requests user-agent via viewport-width want-content-digest want-repr-digest warning width b3 uber-trace-id
x-http-method-override x-request-id x-correlation-id x-requested-with x-real-ip x-client-ip x-cloud-trace-context x-do-not-track x-csrf-token
x-xsrf-token true-client-ip x-amzn-trace-id x-original-url x-scheme x-wap-profile x-att-deviceid`
	knownPrefixes = `sec- x-forwarded- x-envoy- x-b3- x-datadog- x-palisade- cf- cdn- fastly- grpc- access-control- x-ot-span- proxy- sentry-`
)

// headerNames are those that belong to no API.
type headerNames struct {
	names    map[string]bool
	prefixes []string
}

func knownNames() *headerNames {
	h := &headerNames{names: map[string]bool{}, prefixes: strings.Fields(knownPrefixes)}
	for name := range strings.FieldsSeq(knownHeaders) {
		h.names[name] = true
	}
	return h
}

// has reports whether a field in lower case is one of those.
func (h *headerNames) has(name []byte) bool {
	return h.names[string(name)] || slices.ContainsFunc(h.prefixes, func(p string) bool { return len(name) > len(p) && string(name[:len(p)]) == p })
}
