package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// apiError is what JetStream answers instead of doing what it was asked (nats-server errors.json).
type apiError struct {
	Status int    `json:"code"`
	Code   int    `json:"err_code"`
	Text   string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Text, e.Code) }

// Codes of JetStream.
const (
	codeWrongLast      = 10071
	codeNoMessage      = 10037
	codeNoStream       = 10059
	codeTooLarge       = 10054
	codeStoreFailed    = 10077 // also: the stream is full
	codeNoMajority     = 10008 // of servers: "JetStream system temporarily unavailable"
	codeInProcess      = 10158 // the message is stored, or not, in a moment
	codeInvalidForm    = 10052 // of a stream
	codeBatchDuplicate = 10201
	codeBatchDisabled  = 10174
	codeBatchPartial   = 10176
	codeBatchInFlight  = 10210
)

// passing tells whether another try may succeed: no leader now, or a server short of something.
func (e *apiError) passing() bool {
	return e.Status >= 500 && e.Code != codeInvalidForm || e.Code == codeStoreFailed || e.Code == codeBatchPartial || e.Code == codeInProcess
}

// meaning turns what callers branch on into sentinels.
func (e *apiError) meaning() error {
	switch {
	case e.Code == codeWrongLast:
		return ErrConflict
	case e.Code == codeNoMessage, e.Code == codeNoStream:
		return fmt.Errorf("%w: %w", ErrNotFound, e)
	case e.Code == codeTooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, e)
	case e.Code == codeStoreFailed && strings.Contains(e.Text, "maximum"):
		return fmt.Errorf("%w: %w", ErrFull, e)
	}
	return e
}

// libraryError turns an error of the client library into ours.
func libraryError(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return (&apiError{Status: api.Code, Code: int(api.ErrorCode), Text: api.Description}).meaning()
	}
	return err
}

// ask sends a request to JetStream and reads its answer into out. It tries once.
func (c *Client) ask(ctx context.Context, m *nats.Msg, out any) error {
	err := c.askOnce(ctx, m, out)
	c.judge(err)
	return err
}

func (c *Client) askOnce(ctx context.Context, m *nats.Msg, out any) error {
	answer, err := c.exchange(ctx, m)
	if err != nil {
		return err
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &failed); err != nil {
		return fmt.Errorf("reading the answer of the stream: %w", err)
	}
	if failed.Error != nil {
		return failed.Error.meaning()
	}
	if err := json.Unmarshal(answer.Data, out); err != nil {
		return fmt.Errorf("reading the answer of the stream: %w", err)
	}
	return nil
}

// acknowledgement is what a stream answers to a message (nats-server stream.go, JSPubAckResponse).
type acknowledgement struct {
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Batch     string `json:"batch"`
	Count     int    `json:"count"`
}

// store sends a message to whichever stream takes its subject, once, and returns its sequence number.
func (c *Client) store(ctx context.Context, m *nats.Msg) (acknowledgement, error) {
	var ack acknowledgement
	if err := c.ask(ctx, m, &ack); err != nil {
		return ack, err
	}
	if ack.Stream == "" || ack.Sequence == 0 {
		return ack, errors.New("the answer acknowledges nothing")
	}
	return ack, nil
}

// makeStream makes a stream, or brings an existing one to the given form.
func (c *Client) makeStream(ctx context.Context, config jetstream.StreamConfig) error {
	return retry(ctx, func(ctx context.Context) error {
		_, err := c.js.CreateOrUpdateStream(ctx, config)
		return libraryError(err)
	})
}
