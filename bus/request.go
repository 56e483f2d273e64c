package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Code says why a server of requests did not do what it was asked.
type Code string

// The codes.
const (
	Busy   Code = "busy"   // ask again later; Request does so by itself
	Failed Code = "failed" // the server could not decide; its log says why
	Denied Code = "denied" // it may not be asked for this by the one who asks
	Wrong  Code = "wrong"  // the request makes no sense
)

// Refusal is an answer that is none. A handler returns it to tell the asker; every other error becomes Failed.
type Refusal struct {
	Code Code
	Text string // shown to the asker
}

func (r *Refusal) Error() string {
	if r.Text == "" {
		return string(r.Code)
	}
	return string(r.Code) + ": " + r.Text
}

const (
	headerRequest = "Palisade-Request"
	headerCode    = "Palisade-Code"
	headerText    = "Palisade-Text"
	maxText       = 1024
)

// Request asks whoever serves a subject and returns the answer. While nobody serves it, is busy or silent, it asks
// again until the context ends. A request may be served more than once: the server sees the same Asked.ID
// each time. The error wraps a *Refusal if the server refused.
func (c *Client) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if err := checkSubject(subject, false); err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	m := nats.NewMsg(subject)
	m.Header.Set(headerRequest, nuid.Next())
	m.Data = data
	var answer []byte
	err := retry(ctx, func(ctx context.Context) error {
		got, err := c.exchange(ctx, m)
		if err != nil {
			return err
		}
		if code := got.Header.Get(headerCode); code != "" {
			return &Refusal{Code: Code(code), Text: got.Header.Get(headerText)}
		}
		answer = got.Data
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking %q: %w", subject, err)
	}
	return answer, nil
}

// refusal turns a handler's error into what the asker is told.
func refusal(err error) *nats.Msg {
	told := &Refusal{Code: Failed}
	if meant, ok := errors.AsType[*Refusal](err); ok {
		told = meant
	}
	m := &nats.Msg{Header: nats.Header{}}
	m.Header.Set(headerCode, string(told.Code))
	m.Header.Set(headerText, told.Text[:min(len(told.Text), maxText)])
	return m
}
