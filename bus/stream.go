package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// StreamOptions are those of MakeStream.
type StreamOptions struct {
	Name     string
	Subjects []string
	Replicas int           // servers that hold it; 0: 1
	MaxBytes int64         // on disk; 0: no bound of its own
	MaxAge   time.Duration // after which messages go; 0: never
	Message  int32         // bytes of one message with its headers; 0: what the server takes
	Share    int64         // messages of one subject that it holds, so that one sender leaves room for others; 0: no bound. What is above a new one is dropped
}

// Message is one message of a stream.
type Message struct {
	Subject string
	ID      string // of whoever published it: a repetition within five minutes is stored once. "": one is made
	Data    []byte

	// What follows is set in messages that were consumed.
	Sequence uint64    // in the stream
	Time     time.Time // when it was stored
	Try      int       // 1 for the first delivery
}

// maxBatch is what servers take in one atomic batch (NATS ADR-50).
const maxBatch = 1000

// MakeStream makes a stream, or brings an existing one to the given form. A full stream refuses new messages; it never
// drops what it acknowledged to make room.
func (c *Client) MakeStream(ctx context.Context, o StreamOptions) error {
	if o.MaxBytes == 0 {
		o.MaxBytes = -1
	}
	config := jetstream.StreamConfig{
		Name: o.Name, Subjects: o.Subjects, Replicas: max(o.Replicas, 1), MaxBytes: o.MaxBytes, MaxAge: o.MaxAge,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Duplicates: sameWindow, AllowAtomicPublish: true,
	}
	if o.MaxAge > 0 {
		config.Duplicates = min(sameWindow, o.MaxAge)
	}
	if o.Message > 0 {
		config.MaxMsgSize = o.Message
	}
	if o.Share > 0 {
		config.MaxMsgsPerSubject, config.DiscardNewPerSubject = o.Share, true
	}
	err := c.makeStream(ctx, config)
	if api, ok := errors.AsType[*apiError](err); ok && api.Code == codeInvalidForm { // it may be of an earlier build; a work queue stays one
		config.Retention = jetstream.WorkQueuePolicy
		if c.makeStream(ctx, config) == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("making the stream %q: %w", o.Name, err)
	}
	return nil
}

// Publish stores a message durably, in whichever stream takes its subject, and returns its sequence number there. It
// repeats itself until the stream has acknowledged or the context ends; then the message may be stored or not.
func (c *Client) Publish(ctx context.Context, m Message) (uint64, error) {
	if m.ID == "" {
		m.ID = nuid.Next()
	}
	out, err := m.wire()
	if err != nil {
		return 0, fmt.Errorf("publishing: %w", err)
	}
	var ack acknowledgement
	err = retry(ctx, func(ctx context.Context) (err error) {
		ack, err = c.store(ctx, out)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("publishing to %q: %w", m.Subject, err)
	}
	return ack.Sequence, nil
}

func (m *Message) wire() (*nats.Msg, error) {
	if err := checkSubject(m.Subject, false); err != nil {
		return nil, err
	}
	out := nats.NewMsg(m.Subject)
	out.Header[headerID] = []string{m.ID}
	out.Data = m.Data
	return out, nil
}

// PublishAll stores messages of one stream durably, in their order. Each thousand of them is stored whole or not at
// all where the server can (2.12 and later, streams of MakeStream); elsewhere one by one. It repeats like Publish;
// if it fails, some of the thousands may be stored.
func (c *Client) PublishAll(ctx context.Context, messages []Message) error {
	for len(messages) > 0 {
		n := min(len(messages), maxBatch)
		if err := c.publishBatch(ctx, messages[:n]); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// errNoBatch tells that messages must be stored one by one: the server knows no batches, or has some of the messages,
// from a batch whose acknowledgement was lost.
var errNoBatch = errors.New("the batch cannot be stored as one")

func (c *Client) publishBatch(ctx context.Context, messages []Message) error {
	out := make([]*nats.Msg, len(messages))
	for i := range messages {
		m := messages[i]
		if m.ID == "" {
			m.ID = nuid.Next()
		}
		var err error
		if out[i], err = m.wire(); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	err := error(permanent{errNoBatch})
	if len(out) > 1 { // a batch costs a server several times what one message does
		err = retry(ctx, func(ctx context.Context) error {
			_, err := c.storeBatch(ctx, out)
			return err
		})
	}
	if errors.Is(err, errNoBatch) {
		err = c.storeEach(ctx, out)
	}
	if err != nil {
		return fmt.Errorf("publishing %d messages: %w", len(messages), err)
	}
	return nil
}

// storeBatch sends a batch once (NATS ADR-50): the last message commits it, and its acknowledgement is for all.
func (c *Client) storeBatch(ctx context.Context, messages []*nats.Msg) (ack acknowledgement, err error) {
	id := nuid.Next()
	for i, m := range messages {
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i < len(messages)-1 {
			if size, most := int64(m.Size()), c.nc.MaxPayload(); size > most {
				return ack, fmt.Errorf("%w: %d bytes of at most %d", ErrTooLarge, size, most)
			}
			if err := c.nc.PublishMsg(m); err != nil {
				return ack, err
			}
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		if ack, err = c.store(ctx, m); err != nil {
			return ack, batchError(err)
		}
	}
	if ack.Batch != id || ack.Count != len(messages) {
		return ack, permanent{errNoBatch} // a server without batches took the last message alone
	}
	return ack, nil
}

func batchError(err error) error {
	var api *apiError
	if errors.As(err, &api) && (api.Code == codeBatchDuplicate || api.Code == codeBatchDisabled) {
		return permanent{fmt.Errorf("%w: %w", errNoBatch, err)}
	}
	return err
}

// storeEach stores messages one after another; those that are stored already are known by their ids.
func (c *Client) storeEach(ctx context.Context, messages []*nats.Msg) error {
	for _, m := range messages {
		for _, name := range []string{"Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"} {
			delete(m.Header, name)
		}
		err := retry(ctx, func(ctx context.Context) error {
			_, err := c.store(ctx, m)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
