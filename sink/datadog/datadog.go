// Package datadog sends events to Datadog's logs intake (API v2). The message of a log is the event as recorded (OCSF,
// JSON), which Datadog reads into attributes.
package datadog

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

// Options say where logs go.
type Options struct {
	URL   string // https://http-intake.logs.datadoghq.eu, or that of another site
	Token string // API key
	TLS   *tls.Config
}

// Bound is what the intake takes at once: 1,000 logs and 5 MB, of which quoting takes a part.
func Bound() sink.Bound { return sink.Bound{Records: 1000, Bytes: 3 << 20} }

// Target is one account.
type Target struct{ post *sink.Poster }

// New connects lazily.
func New(o Options) *Target {
	return &Target{sink.NewPoster(sink.PosterOptions{
		URL: strings.TrimRight(o.URL, "/") + "/api/v2/logs", Header: map[string]string{"DD-API-KEY": o.Token}, Secrets: []string{o.Token}, TLS: o.TLS,
	})}
}

// Close ends idle connections.
func (t *Target) Close() error { return t.post.Close() }

// entry is one log. Datadog gives these names a meaning.
type entry struct {
	Source    string `json:"ddsource"`
	Tags      string `json:"ddtags"`
	Hostname  string `json:"hostname,omitempty"`
	Service   string `json:"service"`
	Status    string `json:"status"`
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	Message   string `json:"message"`
}

func entryOf(e *event.Event) entry {
	out := entry{
		Source: "palisade", Tags: "class:" + sink.Class(e),
		Hostname: e.Fleet, Service: "palisade", Status: status(e.SeverityID()), Timestamp: e.Time.UnixMilli(),
		Message: string(event.AppendJSON(nil, e)),
	}
	if e.Fleet != "" {
		out.Tags = "fleet:" + e.Fleet + "," + out.Tags
	}
	if outcome := sink.Outcome(e); outcome != "" {
		out.Tags += ",outcome:" + outcome
	}
	if name := sink.Service(e); name != "" {
		out.Service = name
	}
	return out
}

// status is what Datadog calls a severity of OCSF.
func status(severity int) string {
	switch severity {
	case 0, 1:
		return "info"
	case 2:
		return "notice"
	case 3:
		return "warning"
	case 4:
		return "error"
	}
	return "critical"
}

func body(records []sink.Record) ([]byte, error) {
	entries := make([]entry, len(records))
	for i := range records {
		entries[i] = entryOf(records[i].Event)
	}
	var out bytes.Buffer
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	if err := w.Encode(entries); err != nil {
		return nil, fmt.Errorf("writing logs: %w", err)
	}
	return out.Bytes(), nil
}

// Send is sink.Target's.
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
