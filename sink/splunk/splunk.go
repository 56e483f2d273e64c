// Package splunk sends events to Splunk's HTTP Event Collector (HEC), as recorded (OCSF), under one source type.
package splunk

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

// SourceType is under what Splunk knows how to read events: JSON of OCSF.
const SourceType = "palisade:ocsf"

// Options say where events go.
type Options struct {
	URL   string // https://host:8088
	Token string // of the collector
	Index string // default: that of the token
	TLS   *tls.Config
}

// Target is one collector.
type Target struct {
	post  *sink.Poster
	index string
}

// New connects lazily.
func New(o Options) *Target {
	return &Target{index: o.Index, post: sink.NewPoster(sink.PosterOptions{
		URL: strings.TrimRight(o.URL, "/") + "/services/collector/event", Header: map[string]string{"Authorization": "Splunk " + o.Token},
		Secrets: []string{o.Token}, TLS: o.TLS,
	})}
}

// Close ends idle connections.
func (t *Target) Close() error { return t.post.Close() }

// envelope is what the collector wants around an event.
type envelope struct {
	Time       json.Number     `json:"time"` // seconds since 1970
	Host       string          `json:"host,omitempty"`
	Source     string          `json:"source"`
	SourceType string          `json:"sourcetype"`
	Index      string          `json:"index,omitempty"`
	Event      json.RawMessage `json:"event"`
}

func (t *Target) body(records []sink.Record) ([]byte, error) {
	var out []byte
	for i := range records {
		e := records[i].Event
		text, err := json.Marshal(envelope{
			Time: seconds(e), Host: e.Fleet, Source: "palisade", SourceType: SourceType, Index: t.index, Event: event.AppendJSON(nil, e),
		})
		if err != nil {
			return nil, fmt.Errorf("writing event: %w", err)
		}
		out = append(append(out, text...), '\n')
	}
	return out, nil
}

func seconds(e *event.Event) json.Number {
	return json.Number(strconv.FormatFloat(float64(e.Time.UnixMilli())/1000, 'f', 3, 64))
}

// answer is what the collector says.
type answer struct {
	Text    string `json:"text"`
	Code    int    `json:"code"`
	Invalid *int   `json:"invalid-event-number"` // counts from 0; those before are taken
}

// The codes with which the collector refuses what an operator can mend.
const (
	codeNoIndex   = 7
	codeNoChannel = 10
	codeNoAck     = 14
)

// Send is sink.Target's.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	text, err := t.body(records)
	if err != nil {
		return err
	}
	reply, err := t.post.Post(ctx, "application/json", text)
	if err != nil {
		return err
	}
	return t.judge(reply, len(records))
}

// judge says what an answer means.
func (t *Target) judge(reply *sink.Reply, n int) error {
	err := t.post.Judge(reply)
	if _, refused := errors.AsType[*sink.RefusedError](err); !refused {
		return err
	}
	var said answer
	if json.Unmarshal(reply.Body, &said) != nil {
		return err
	}
	switch {
	case said.Code == codeNoIndex, said.Code == codeNoChannel, said.Code == codeNoAck:
		return fmt.Errorf("the collector wants another configuration: code %d: %s", said.Code, t.post.Show(said.Text))
	case said.Invalid != nil && *said.Invalid >= 0 && *said.Invalid < n:
		return invalid(*said.Invalid, n, fmt.Sprintf("code %d: %s", said.Code, t.post.Show(said.Text)))
	}
	return err
}

// invalid says that the events before one are taken, and those behind it were not looked at.
func invalid(at, n int, reason string) error {
	out := &sink.PartialError{Refused: []sink.Refused{{At: at, Reason: reason}}, After: -1, Reason: reason}
	for i := at + 1; i < n; i++ {
		out.Again = append(out.Again, i)
	}
	return out
}
