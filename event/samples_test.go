package event_test

import (
	"time"

	"github.com/palisade-security/palisade/event"
)

var moment = time.Date(2026, 11, 22, 10, 30, 0, 123456789, time.UTC)

// full is an event with something in every field.
func full() *event.Event {
	return &event.Event{
		Time: moment, ID: "0193b6f0-0000-7000-8000-000000000001",
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7",
		Fleet: "shop", Snapshot: "s-42", Listener: "public",
		Method: "POST", Scheme: "https", Host: "shop.example:8443", Path: "/orders/1", Query: "page=2&sort=date",
		Proto: "HTTP/2.0", UserAgent: "curl/8.5 \"x\"", Referer: "https://shop.example/",
		Headers: []event.Header{{Name: "accept", Value: "*/*"}, {Name: "x-empty", Value: ""}},
		Client:  "203.0.113.7", ClientPort: 51234, Peer: "10.0.0.1:4711",
		TLSVersion: "1.3", TLSCipher: "TLS_AES_128_GCM_SHA256", TLSGroup: "X25519MLKEM768", TLSServer: "shop.example",
		User: &event.User{
			Provider: "dev", Issuer: "https://issuer.example", Subject: "user-1",
			Roles: []string{"customer", "beta"}, ClientID: "web", TokenID: "jti-1",
			Attributes: &event.Attributes{
				Scopes: []string{"orders:read", "openid"}, ACR: "urn:acr:2", AMR: []string{"pwd", "mfa"}, AuthTime: moment.Add(-time.Minute),
				Claims: []event.Claim{
					{Name: "tenant", Value: "blue \"x\""},
					{Name: "level", Value: int64(-3)},
					{Name: "staff", Value: true},
					{Name: "teams", Value: []string{"a", "b"}},
					{Name: "none", Value: []string{}},
					{Name: "absent"},
				},
				Cut: []string{"claims.long"},
			},
		},
		Workload: "spiffe://shop.example/web", Side: event.SideInbound,
		Route: "orders-item", Service: "orders", Template: "/orders/{id}",
		Open: true, Allowed: true, DryRun: true, Status: 403, Problem: "denied", Drift: true, Aborted: "client",
		Trail: []event.Stage{
			{Name: event.StageRoute, Outcome: event.OutcomePass, Took: 1200},
			{Name: event.StageAuthorise, Outcome: event.OutcomeDeny, DryRun: true, Took: 8 * time.Microsecond, Reasons: []event.Reason{
				{
					Code: "forbid", Text: "a policy forbids it — \"quoted\"\n\x01\u2028", Policy: "orders.cedar#3",
					Position: "policies/orders.cedar:12:1", Data: map[string]string{"owner": "user-2", "z": "", "a\"b": "<&>"},
				},
				{Code: "no-permit"},
			}},
			{Name: event.StageForward, Outcome: event.OutcomeError},
			{Name: event.StageInspect, Outcome: event.OutcomeSkip},
		},
		BytesIn: 1 << 40, BytesOut: 77, Took: 3*time.Millisecond + 5,
		Upstream: "127.0.0.1:9000", UpstreamStatus: 200, UpstreamTook: 2 * time.Millisecond, UpstreamReused: true, Attempts: 2,
	}
}

// samples are events as they occur, by what happened.
func samples() map[string]*event.Event {
	allowed := full()
	allowed.Open, allowed.DryRun, allowed.Aborted, allowed.Problem, allowed.Status = false, false, "", "", 200
	allowed.Trail = allowed.Trail[:1]
	denied := func(stage string, o event.Outcome) *event.Event {
		return &event.Event{
			Time: moment, ID: "id", Method: "GET", Path: "/x", Client: "2001:db8::1", Status: 403, Problem: "denied",
			Trail: []event.Stage{{Name: stage, Outcome: o, Reasons: []event.Reason{{Code: "c", Policy: "942100"}}}},
		}
	}
	return map[string]*event.Event{
		"full": full(), "allowed": allowed,
		"unauthenticated": denied(event.StageAuthenticate, event.OutcomeDeny),
		"unauthorised":    denied(event.StageAuthorise, event.OutcomeDeny),
		"limited":         denied(event.StageLimitAddress, event.OutcomeDeny),
		"attack":          denied(event.StageInspect, event.OutcomeDeny),
		"invalid":         denied(event.StageValidate, event.OutcomeDeny),
		"undecided":       denied(event.StageAuthorise, event.OutcomeError),
		"unparsed":        {Time: moment, ID: "id", Client: "unix socket"},
		"no client":       {Time: moment, ClientPort: 7, SpanID: "abc", TLSServer: "x", Method: "PROPFIND", Host: "[::1]:80"},
		"workload":        {Time: moment, Method: "TRACE", Workload: "spiffe://shop.example/web", Allowed: true, Host: "a:b"},
		"zero":            {Time: time.UnixMilli(0).UTC()},
	}
}
