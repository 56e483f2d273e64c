package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	Code  Code
	Text  string        // shown to the asker
	After time.Duration // with Busy: before that, asking again is in vain; in whole seconds, 0: it is not known
}

// RetryAfter is After, for who asks again by itself (identity/workload).
func (r *Refusal) RetryAfter() time.Duration { return r.After }

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
	headerAfter   = "Palisade-After" // seconds
	maxText       = 1024
	maxAfter      = 60 // what a server may ask for
)

// Request asks whoever serves a subject and returns the answer. While nobody serves it, is busy or silent, it asks
// again until the context ends, with pauses that grow and that are no shorter than a busy server asks for. A request may be served more than once: the server sees the same Asked.ID
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
			after, _ := strconv.Atoi(got.Header.Get(headerAfter)) // none, from who does not know
			return &Refusal{Code: Code(code), Text: got.Header.Get(headerText), After: time.Duration(min(max(after, 0), maxAfter)) * time.Second}
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
	if told.After > 0 {
		m.Header.Set(headerAfter, strconv.Itoa(int(told.After.Seconds())))
	}
	return m
}
