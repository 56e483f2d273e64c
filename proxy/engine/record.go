package engine

import (
	"context"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// recordOpen writes the decision durably before it takes effect (audit strict).
func (x *exchange) recordOpen() error {
	x.fill()
	x.ev.Open = true
	// A client that goes away must not make its own record fail.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), durableTimeout)
	defer cancel()
	if err := x.engine.recorder.Durable(ctx, &x.ev); err != nil {
		return &proxy.Denial{Kind: proxy.KindUnrecorded, Reasons: []event.Reason{{Code: "record-failed", Text: "the record could not be written"}}}
	}
	return nil
}

// durableTimeout is how long a decision may wait for the disk before the request is refused.
const durableTimeout = 5 * time.Second

// finish writes the one event of this exchange. A connection that must break breaks afterwards.
func (x *exchange) finish() {
	x.fill()
	x.ev.Open = false
	x.engine.recorder.Observe(&x.ev)
}

// fill copies into the event what is known by now, redacted.
func (x *exchange) fill() {
	e, r := &x.ev, &x.req
	e.Time, e.ID, e.TraceID, e.SpanID = r.Received, r.ID, r.TraceID, x.trace.spanID()
	e.Fleet, e.Snapshot = x.table.Fleet, x.table.Version
	e.Listener, e.Side = x.call.Conn.Listener, x.table.Side.seen()
	e.Method, e.Scheme, e.Host, e.Path, e.Query, e.Proto = r.Method, r.Scheme, r.Host, r.Path, r.RawQuery, r.Proto
	switch {
	case x.call.Refused != nil: // nothing of it can be believed; the host is known where it does not depend on that
		e.Host = x.call.Host
	case e.Path == "": // refused before it was understood: what the client sent, as it sent it
		e.Method, e.Host = x.call.Method, x.call.Host
		e.Path, e.Query, _ = strings.Cut(x.call.Target, "?")
	}
	e.UserAgent = x.call.Header.Get("User-Agent")
	e.Referer = x.call.Header.Get("Referer")
	e.Peer = x.call.Conn.text
	e.Client = e.Peer
	if r.Client != r.Peer {
		e.Client = r.Client.String()
	}
	e.TLSVersion, e.TLSCipher, e.TLSGroup, e.TLSServer = r.TLS.Version, r.TLS.Cipher, r.TLS.Group, r.TLS.Server
	if u := r.User; u != nil {
		x.user = event.User{Provider: u.Provider, Issuer: u.Issuer, Subject: u.Subject, Roles: u.Roles, ClientID: u.ClientID, TokenID: u.TokenID, Attributes: x.attributesOf(u)}
		e.User = &x.user
	}
	if r.Workload != nil {
		e.Workload = r.Workload.SPIFFEID
	}
	if x.route != nil {
		e.Route, e.Service, e.Template = x.route.ID, x.route.Service.Name, x.route.Template
	}
	e.Allowed = x.denial == nil || failedBehind(x.denial)
	e.Trail = r.Trail
	e.BytesIn, e.Took = r.Body.BytesRead()+x.tunnelIn, time.Since(r.Received)
	e.Redact(x.table.Redactor)
}

// attributesOf is what decisions about u may be made again by.
func (x *exchange) attributesOf(u *proxy.User) *event.Attributes {
	a := &x.attributes
	*a = event.Attributes{Scopes: u.Scopes, ACR: u.ACR, AMR: u.AMR, AuthTime: u.AuthTime, Claims: a.Claims[:0]}
	for _, name := range x.table.Claims {
		a.Claims = append(a.Claims, event.Claim{Name: name, Value: u.Claims[name]})
	}
	a.Bound()
	return a
}
