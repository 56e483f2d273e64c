// Package elastic sends events to Elasticsearch and OpenSearch, in the Elastic Common Schema, over their bulk API. An
// event's id is its document's, so that what is sent twice is there once within an index.
package elastic

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/sink"
)

// DefaultIndex is a data stream for which Elasticsearch has a template.
const DefaultIndex = "logs-palisade.events-default"

// Options say where documents go. Token is an API key; without it User and Password sign in.
type Options struct {
	URL            string // http(s)://host:port
	Index          string // index or data stream; default DefaultIndex
	Token          string
	User, Password string
	TLS            *tls.Config
}

// Target is one index.
type Target struct{ post *sink.Poster }

// New connects lazily.
func New(o Options) *Target {
	if o.Index == "" {
		o.Index = DefaultIndex
	}
	header, secret := map[string]string{}, ""
	switch {
	case o.Token != "":
		secret = o.Token
		header["Authorization"] = "ApiKey " + secret
	case o.User != "":
		secret = base64.StdEncoding.EncodeToString([]byte(o.User + ":" + o.Password))
		header["Authorization"] = "Basic " + secret
	}
	return &Target{sink.NewPoster(sink.PosterOptions{
		URL: strings.TrimRight(o.URL, "/") + "/" + url.PathEscape(o.Index) + "/_bulk", Header: header, Secrets: []string{secret, o.Password}, TLS: o.TLS,
	})}
}

// Close ends idle connections.
func (t *Target) Close() error { return t.post.Close() }

// Send is sink.Target's.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	var body []byte
	for i := range records {
		e := records[i].Event
		body = append(body, `{"create":{"_id":`...)
		body = strconv.AppendQuoteToASCII(body, plain(e.UID()))
		body = append(body, "}}\n"...)
		document, err := json.Marshal(Document(e))
		if err != nil {
			return fmt.Errorf("writing document: %w", err)
		}
		body = append(append(body, document...), '\n')
	}
	reply, err := t.post.Post(ctx, "application/x-ndjson", body)
	if err != nil {
		return err
	}
	if err := t.post.Judge(reply); err != nil {
		return err
	}
	return t.outcome(reply.Body, len(records))
}

// plain keeps of an id what stands in JSON as it is.
func plain(id string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, id)
}

// bulk is the answer to a bulk request.
type bulk struct {
	Errors bool `json:"errors"`
	Items  []struct {
		Create struct {
			Status int `json:"status"`
			Error  struct {
				Type   string `json:"type"`
				Reason string `json:"reason"`
			} `json:"error"`
		} `json:"create"`
	} `json:"items"`
}

// outcome reads what became of each document. One that is there already was sent before.
func (t *Target) outcome(text []byte, n int) error {
	var answer bulk
	if err := json.Unmarshal(text, &answer); err != nil {
		return errors.New("the server's answer is none to a bulk request; is it Elasticsearch or OpenSearch?")
	}
	if len(answer.Items) != n {
		return fmt.Errorf("the server's answer is about %d documents, and %d were sent", len(answer.Items), n)
	}
	partial := &sink.PartialError{}
	for i := range answer.Items {
		c := &answer.Items[i].Create
		reason := strconv.Itoa(c.Status) + " " + t.post.Show(c.Error.Type+": "+c.Error.Reason)
		switch {
		case c.Status/100 == 2, c.Status == 409:
		case c.Status == 429, c.Status == 401, c.Status == 403, c.Status == 404, c.Status/100 != 4: // it, or an operator, can mend that
			partial.Again, partial.Reason = append(partial.Again, i), reason
		default:
			partial.Refused = append(partial.Refused, sink.Refused{At: i, Reason: reason})
		}
	}
	if len(partial.Again)+len(partial.Refused) == 0 {
		return nil
	}
	return partial
}
