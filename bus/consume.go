package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ConsumeOptions are those of Consume.
type ConsumeOptions struct {
	Stream  string
	Name    string        // the stream remembers by it what was acknowledged
	Subject string        // pattern of what is wanted; empty: everything
	Batch   int           // messages handled at once at most; default 256. It begins with one, and at most doubles
	Once    bool          // what is acknowledged leaves the stream soon; for a stream with one consumer
	Bytes   int           // that they have together at most, if none is larger than those of the batch before; default 8 MiB
	Wait    time.Duration // for the first message of a batch before asking again, default 5 s
	Timeout time.Duration // of a handler, after which the messages go to another; default 1 min
}

func (o *ConsumeOptions) defaults() {
	if o.Batch == 0 {
		o.Batch = 256
	}
	if o.Bytes == 0 {
		o.Bytes = 8 << 20
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
}

// clearEvery is how often acknowledged messages leave a stream, at most; and settle is how often where some come again meanwhile.
const (
	clearEvery = 100 * time.Millisecond
	settle     = 5 * time.Second
)

// Consume hands the messages of a stream to handle, batch by batch, until the context ends; it returns why. When handle
// returns nil the batch is acknowledged; otherwise, or if this process dies, it comes again, to this or another
// process with the same Name. So a message is handled at least once. The next batch is asked for when the last
// was handled: a slow handler holds messages back in the stream.
func (c *Client) Consume(ctx context.Context, o ConsumeOptions, handle func(context.Context, []Message) error) error {
	o.defaults()
	for n := 0; ; n++ {
		handled, err := c.consume(ctx, &o, handle)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if handled {
			n = 0
		}
		select {
		case <-c.closed:
			return fmt.Errorf("consuming %q: %w", o.Stream, ErrClosed)
		default:
		}
		c.log.Warn("bus consumer begins anew", "stream", o.Stream, "consumer", o.Name, "error", err)
		if err := pause(ctx, backoff(n, backoffMax)); err != nil {
			return err
		}
	}
}

// consume handles batches until something is wrong, and tells whether it handled any.
func (c *Client) consume(ctx context.Context, o *ConsumeOptions, handle func(context.Context, []Message) error) (handled bool, err error) {
	var consumer jetstream.Consumer
	err = within(ctx, 2*attemptTime, func(ctx context.Context) (err error) {
		consumer, err = c.js.CreateOrUpdateConsumer(ctx, o.Stream, jetstream.ConsumerConfig{
			Durable: o.Name, FilterSubject: o.Subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: o.Timeout,
			MaxDeliver: -1, MaxAckPending: 4 * o.Batch, DeliverPolicy: jetstream.DeliverAllPolicy,
		})
		return libraryError(err)
	})
	if err != nil {
		return false, err
	}
	begun := time.Now()
	b := batches{ConsumeOptions: o, of: consumer, next: 1, due: true, again: begun, cleared: begun}
	for {
		did, err := c.batch(ctx, &b, handle)
		handled = handled || did
		if err != nil {
			return handled, err
		}
	}
}

// batches is what one batch leaves to the next.
type batches struct {
	*ConsumeOptions
	of   jetstream.Consumer
	next int // messages

	again time.Time // when a message last came again, or may have been about to

	// What clear keeps.
	due            bool // some have been acknowledged since it was last done
	asked, cleared time.Time
	upTo           uint64
}

// grow sets how many messages the next batch has. The server can bound a batch by its bytes only if it waits for a time, and ends it in that
// time also when it is late.
func (b *batches) grow(messages []Message) {
	largest := 1
	for i := range messages {
		largest = max(largest, len(messages[i].Data))
	}
	b.next = max(min(2*b.next, b.Batch, b.Bytes/largest), 1)
}

// clear takes acknowledged messages out of the stream: those up to the first that is not. A work queue, in which a server does that
// itself, writes and syncs a record for each message that goes: with many small ones they come faster than they go. A server whose stream
// is cleared forgets which messages are about to come again; they come after Timeout. So that is not done often where there may be any.
func (b *batches) clear(ctx context.Context, c *Client) error {
	now := time.Now()
	if !b.Once || !b.due || now.Sub(b.asked) < clearEvery {
		return nil
	}
	return within(ctx, attemptTime, func(ctx context.Context) error {
		info, err := b.of.Info(ctx)
		if err != nil {
			return libraryError(err)
		}
		b.asked = time.Now()
		open := info.NumAckPending > 0 // with another, or their acknowledgements are under way: they go the next time
		b.due = open
		if info.AckFloor.Stream == b.upTo {
			return nil
		}
		if open && now.Sub(b.again) < settle && now.Sub(b.cleared) < settle {
			return nil
		}
		if err := c.purge(ctx, b.Stream, info.AckFloor.Stream+1); err != nil {
			return fmt.Errorf("clearing the stream %q: %w", b.Stream, err)
		}
		b.cleared, b.upTo = time.Now(), info.AckFloor.Stream
		return nil
	})
}

func (c *Client) batch(ctx context.Context, b *batches, handle func(context.Context, []Message) error) (handled bool, err error) {
	waited, cancel := context.WithTimeout(ctx, b.Wait)
	defer cancel()
	// Ask for what is there; only if nothing is, wait for the first that comes.
	raw, err := drain(b.of.FetchNoWait(b.next))
	if err == nil && len(raw) == 0 {
		if err = b.clear(ctx, c); err == nil {
			raw, err = drain(b.of.Fetch(1, jetstream.FetchContext(waited)))
		}
	}
	if len(raw) == 0 {
		return false, err
	}
	messages := make([]Message, len(raw))
	for i, m := range raw {
		meta, err := m.Metadata()
		if err != nil {
			return false, err
		}
		messages[i] = Message{
			Subject: m.Subject(), ID: m.Headers().Get(headerID), Data: m.Data(),
			Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Try: int(meta.NumDelivered),
		}
		if messages[i].Try > 1 {
			b.again = time.Now()
		}
	}
	if err := within(ctx, b.Timeout, func(ctx context.Context) error { return handle(ctx, messages) }); err != nil {
		for _, m := range raw {
			_ = m.NakWithDelay(backoff(messages[0].Try, 10*backoffMax)) // without it they come after Timeout
		}
		return false, fmt.Errorf("handling messages: %w", err)
	}
	for _, m := range raw {
		if err := m.Ack(); err != nil {
			return true, err
		}
	}
	b.grow(messages)
	b.due = true
	return true, b.clear(ctx, c)
}

// drain collects what was fetched.
func drain(got jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, err
	}
	var raw []jetstream.Msg
	for m := range got.Messages() {
		raw = append(raw, m)
	}
	err = got.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoMessages) {
		err = nil
	}
	return raw, err
}
