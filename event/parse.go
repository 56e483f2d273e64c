package event

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrForeign says that a line is no event as AppendJSON writes them.
var ErrForeign = errors.New("no event of this program in OCSF " + SchemaVersion)

// wire is the shape of AppendJSON's output as far as Parse needs it.
type wire struct {
	ClassUID int    `json:"class_uid"`
	Time     int64  `json:"time"`
	Reason   string `json:"status_code"`
	Problem  string `json:"status_detail"`
	ActionID int    `json:"action_id"`
	Metadata struct {
		Version string `json:"version"`
		UID     string `json:"correlation_uid"`
	} `json:"metadata"`
	Request struct {
		Method string `json:"http_method"`
		Proto  string `json:"version"`
		URL    struct {
			Scheme string `json:"scheme"`
			Host   string `json:"hostname"`
			Path   string `json:"path"`
			Query  string `json:"query_string"`
		} `json:"url"`
		UserAgent string   `json:"user_agent"`
		Referer   string   `json:"referrer"`
		Headers   []Header `json:"http_headers"`
	} `json:"http_request"`
	Response struct {
		Code int `json:"code"`
	} `json:"http_response"`
	Source struct {
		IP   string `json:"ip"`
		Name string `json:"name"`
		Port int    `json:"port"`
	} `json:"src_endpoint"`
	Destination struct {
		Host     string `json:"hostname"`
		Service  string `json:"svc_name"`
		Listener string `json:"interface_name"`
	} `json:"dst_endpoint"`
	Traffic struct {
		Sent     int64 `json:"bytes_out"`
		Received int64 `json:"bytes_in"`
	} `json:"traffic"`
	TLS struct {
		Version string `json:"version"`
		Cipher  string `json:"cipher"`
		Server  string `json:"sni"`
	} `json:"tls"`
	Actor wireActor `json:"actor"`
	Trace struct {
		UID  string `json:"uid"`
		Span struct {
			UID string `json:"uid"`
		} `json:"span"`
	} `json:"trace"`
	Unmapped wireUnmapped `json:"unmapped"`
}

type wireActor struct {
	User struct {
		UID     string      `json:"uid"`
		TypeID  int         `json:"type_id"`
		TokenID string      `json:"credential_uid"`
		Groups  []wireGroup `json:"groups"`
	} `json:"user"`
	IDP struct {
		Name   string `json:"name"`
		Issuer string `json:"issuer"`
	} `json:"idp"`
	ClientID string `json:"app_uid"`
}

type wireGroup struct {
	Name string `json:"name"`
}

type wireUnmapped struct {
	TimeNS     int64         `json:"time_ns"`
	Took       time.Duration `json:"took_ns"`
	Fleet      string        `json:"fleet"`
	Snapshot   string        `json:"snapshot"`
	Route      string        `json:"route"`
	Template   string        `json:"template"`
	Host       string        `json:"host"`
	ClientPort int           `json:"client_port"`
	Span       string        `json:"span"`
	Peer       string        `json:"peer"`
	TLSGroup   string        `json:"tls_group"`
	Workload   string        `json:"workload"`
	User       *Attributes   `json:"user"`
	Side       Side          `json:"side"`
	Open       bool          `json:"open"`
	DryRun     bool          `json:"dry_run"`
	Drift      bool          `json:"drift"`
	Aborted    string        `json:"aborted"`
	Upstream   struct {
		Address  string        `json:"address"`
		Status   int           `json:"status"`
		Took     time.Duration `json:"took_ns"`
		Reused   bool          `json:"reused"`
		Attempts int           `json:"attempts"`
	} `json:"upstream"`
	Connection *wireConnection `json:"connection"`
	Trail      []Stage         `json:"trail"`
	Act        *wireAct        `json:"act"`
}

type wireConnection struct {
	Side     Side   `json:"side"`
	Protocol string `json:"protocol"`
}

// wireAct is an act as actUnmapped writes it.
type wireAct struct {
	Kind       Kind   `json:"kind"`
	Who        string `json:"who"`
	Role       string `json:"role"`
	Object     string `json:"object"`
	Outcome    Result `json:"outcome"`
	Proxy      string `json:"proxy"`
	Omitted    int64  `json:"omitted"`
	Client     string `json:"client"`
	ClientPort int    `json:"client_port"`
}

// Parse reads an event that AppendJSON wrote. Everything comes back: the time in UTC, empty lists as nil,
// bytes that were not UTF-8 as U+FFFD. The error wraps ErrForeign for JSON that is something else.
func Parse(b []byte) (*Event, error) {
	if isLog(b) {
		return parseLog(b)
	}
	var w wire
	if w.scanned(b) {
		return w.event()
	}
	return parseAny(b)
}

// parseAny reads an event as any JSON. It is a func of its own so that the wire of Parse needs no memory but the stack's.
func parseAny(b []byte) (*Event, error) {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("reading event: %w", err)
	}
	return w.event()
}

// event is what was read.
func (w *wire) event() (*Event, error) {
	if !w.ours() || w.Metadata.Version != SchemaVersion {
		return nil, fmt.Errorf("reading event: %w", ErrForeign)
	}
	u := &w.Unmapped
	if u.Act != nil {
		return w.act(), nil
	}
	e := &Event{
		Time:    time.UnixMilli(w.Time).Add(time.Duration(u.TimeNS)).UTC(),
		ID:      w.Metadata.UID,
		TraceID: w.Trace.UID, SpanID: w.Trace.Span.UID + u.Span,
		Fleet: u.Fleet, Snapshot: u.Snapshot, Listener: w.Destination.Listener,

		Method: w.Request.Method, Proto: w.Request.Proto,
		Scheme: w.Request.URL.Scheme, Host: w.Request.URL.Host, Path: w.Request.URL.Path, Query: w.Request.URL.Query,
		UserAgent: w.Request.UserAgent, Referer: w.Request.Referer, Headers: w.Request.Headers,

		Client: w.Source.IP + w.Source.Name, ClientPort: w.Source.Port + u.ClientPort, Peer: u.Peer,
		TLSVersion: w.TLS.Version, TLSCipher: w.TLS.Cipher, TLSGroup: u.TLSGroup, TLSServer: w.TLS.Server,

		User: w.Actor.user(), Workload: u.Workload, Side: u.Side,
		Route: u.Route, Service: w.Destination.Service, Template: u.Template,

		Open: u.Open, Allowed: w.ActionID == 1, DryRun: u.DryRun, Status: w.Response.Code,
		Problem: w.Problem, Drift: u.Drift, Aborted: u.Aborted, Trail: u.Trail,

		BytesIn: w.Traffic.Sent, BytesOut: w.Traffic.Received, Took: u.Took,
		Upstream: u.Upstream.Address, UpstreamStatus: u.Upstream.Status, UpstreamTook: u.Upstream.Took,
		UpstreamReused: u.Upstream.Reused, Attempts: u.Upstream.Attempts,
	}
	if u.Host != "" {
		e.Host = u.Host
	}
	if c := u.Connection; c != nil {
		e.Connection = &Connection{Side: c.Side, Protocol: c.Protocol}
		e.Host = cmp.Or(u.Host, w.Destination.Host)
	}
	if e.User != nil {
		e.User.Attributes = u.User
	}
	return e, nil
}

// ours reports whether the class is that of what is described.
func (w *wire) ours() bool {
	switch u := &w.Unmapped; {
	case u.Act != nil:
		return u.Connection == nil && w.ClassUID == formOf(u.Act.Kind).class
	case u.Connection != nil:
		return w.ClassUID == classNetworkActivity
	}
	return w.ClassUID == classHTTPActivity
}

// act is the event of an act. A kind that this version does not know stays what it is called.
func (w *wire) act() *Event {
	a := w.Unmapped.Act
	return &Event{
		Time: time.UnixMilli(w.Time).Add(time.Duration(w.Unmapped.TimeNS)).UTC(), ID: w.Metadata.UID,
		Fleet: w.Unmapped.Fleet, Snapshot: w.Unmapped.Snapshot, Client: a.Client, ClientPort: a.ClientPort,
		Allowed: a.Outcome.Known() == Done,
		Act: &Act{
			Kind: a.Kind, Who: a.Who, Role: a.Role, Object: a.Object, Outcome: a.Outcome.Known(),
			Reason: w.Reason, Text: w.Problem, Proxy: a.Proxy, Omitted: a.Omitted,
		},
	}
}

func (a *wireActor) user() *User {
	if a.User.TypeID != userTypePerson {
		return nil
	}
	u := &User{
		Provider: a.IDP.Name, Issuer: a.IDP.Issuer, Subject: a.User.UID,
		ClientID: a.ClientID, TokenID: a.User.TokenID,
	}
	for _, g := range a.User.Groups {
		u.Roles = append(u.Roles, g.Name)
	}
	return u
}
