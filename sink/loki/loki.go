// Package loki pushes events to Grafana Loki. Each line is one event as recorded (OCSF, JSON). The labels are few and
// bounded by the model: what anyone can choose, such as paths and users, is in the line alone.
package loki

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

// Options say where lines go. Token is a bearer token; without it User and Password sign in.
type Options struct {
	URL            string // http(s)://host:port
	Tenant         string // X-Scope-OrgID; default none
	Token          string
	User, Password string
	TLS            *tls.Config
}

// Target is one Loki.
type Target struct{ post *sink.Poster }

// New connects lazily.
func New(o Options) *Target {
	header, secret := map[string]string{}, ""
	switch {
	case o.Token != "":
		secret = o.Token
		header["Authorization"] = "Bearer " + secret
	case o.User != "":
		secret = base64.StdEncoding.EncodeToString([]byte(o.User + ":" + o.Password))
		header["Authorization"] = "Basic " + secret
	}
	if o.Tenant != "" {
		header["X-Scope-OrgID"] = o.Tenant
	}
	return &Target{sink.NewPoster(sink.PosterOptions{
		URL: strings.TrimRight(o.URL, "/") + "/loki/api/v1/push", Header: header, Secrets: []string{secret, o.Password}, TLS: o.TLS,
	})}
}

// Close ends idle connections.
func (t *Target) Close() error { return t.post.Close() }

// labels are the labels of a stream.
type labels struct {
	ServiceName string `json:"service_name"`
	Fleet       string `json:"fleet,omitempty"`
	Class       string `json:"class"`
	Outcome     string `json:"outcome,omitempty"`
	Level       string `json:"level,omitempty"`   // of log records
	Service     string `json:"service,omitempty"` // of the model
}

// stream is lines with the same labels.
type stream struct {
	Labels labels      `json:"stream"`
	Values [][2]string `json:"values"` // nanoseconds since 1970, line
}

func labelsOf(e *event.Event) labels {
	l := labels{ServiceName: "palisade", Fleet: e.Fleet, Class: sink.Class(e), Outcome: sink.Outcome(e), Service: sink.Service(e)}
	if e.Log != nil {
		l.Level = e.Log.Severity.Level()
	}
	return l
}

// body puts events into streams, in the order in which these begin.
func body(records []sink.Record) ([]byte, error) {
	var streams []*stream
	known := map[labels]*stream{}
	for i := range records {
		e := records[i].Event
		l := labelsOf(e)
		s := known[l]
		if s == nil {
			s = &stream{Labels: l}
			known[l] = s
			streams = append(streams, s)
		}
		s.Values = append(s.Values, [2]string{strconv.FormatInt(e.Time.UnixNano(), 10), string(event.AppendJSON(nil, e))})
	}
	var out bytes.Buffer
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	if err := w.Encode(map[string]any{"streams": streams}); err != nil {
		return nil, fmt.Errorf("writing lines: %w", err)
	}
	return out.Bytes(), nil
}

// Send is sink.Target's. Loki keeps the good lines of a batch that it refuses, and drops them when they come again.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	text, err := body(records)
	if err != nil {
		return err
	}
	reply, err := t.post.Post(ctx, "application/json", text)
	if err != nil {
		return err
	}
	return t.post.Judge(reply)
}
