package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Change is a key's newest value, or that it has none any more.
type Change struct {
	Entry
	Deleted bool
}

const (
	heartbeat = 3 * time.Second  // between signs of life of a watched bucket in a cluster, where its leader may die alone
	restful   = 30 * time.Second // from a server that is the only one: it dies with the connection
	orphaned  = 7 * time.Second  // after which the server forgets a watch that nobody listens to

	watchMessages = 1 << 20  // that wait for a slow receiver; then some are dropped, and the bucket is read again
	watchBytes    = 64 << 20 // of them
)

// Watch calls changed with the newest values of the keys of a pattern ("edge.*", ">"), and then with each change, until
// the context ends; it returns why. The first call holds all there is and may be empty; deleted keys may stand
// in it. Calls come one after another. Values between two calls may be left out, the last is never: after every
// lost connection, gap or silence (a leader that died) it reads the bucket again, and hands on what is newer than what it
// handed on before. A bucket that was lost and made anew says nothing about keys it does not have.
func (b *Bucket) Watch(ctx context.Context, pattern string, changed func([]Change)) error {
	if err := checkSubject(pattern, true); err != nil {
		return fmt.Errorf("watching keys: %w", err)
	}
	w := &watch{bucket: b, pattern: pattern, changed: changed, seen: map[string]mark{}}
	for n := 0; ; n++ {
		before := w.complete
		err := w.follow(ctx, patience(n))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, ErrClosed) || errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("watching %q of %q: %w", pattern, b.name, ErrClosed)
		}
		if w.complete > before {
			n = 0
		}
		b.client.log.Debug("bus watch begins anew", "bucket", b.name, "pattern", pattern, "error", err)
		if err := pause(ctx, backoff(n, backoffMax)); err != nil {
			return err
		}
	}
}

// mark is what was handed on of a key.
type mark struct {
	revision uint64
	time     time.Time
}

type watch struct {
	bucket   *Bucket
	pattern  string
	changed  func([]Change)
	seen     map[string]mark
	complete int // how often everything was read
}

var (
	errWatchGap    = errors.New("messages are missing")
	errWatchSilent = errors.New("the server is silent")
)

// follow reads the bucket once and then what comes, until something is wrong: no consumer in the time given, or silence for
// longer.
func (w *watch) follow(ctx context.Context, patience time.Duration) error {
	client := w.bucket.client
	ctx, end := context.WithCancelCause(ctx)
	back, ended := client.comesBack(), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-back:
			end(errWatchGap)
		case <-ctx.Done():
		}
	}()
	probed := make(chan struct{})
	go func() { defer close(probed); w.probe(ctx) }()
	defer func() { end(nil); <-ended; <-probed }()
	inbox := client.nc.NewInbox()
	come := make(chan *nats.Msg)
	// Not SubscribeSync: it makes room for 65,536 messages at once, half a megabyte for each watch of each proxy. What waits here is a list.
	sub, err := client.nc.Subscribe(inbox, func(m *nats.Msg) {
		select {
		case come <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone, and the subscription with it
	if err := sub.SetPendingLimits(watchMessages, watchBytes); err != nil {
		return err
	}
	beat := heartbeat
	if client.alone() {
		beat = restful
	}
	silence := 2*beat + time.Second // after which nobody is believed to be there
	pending, err := w.consumer(ctx, inbox, beat, patience)
	if err != nil {
		return err
	}
	quiet := max(silence, patience)
	alive := time.AfterFunc(quiet, func() { end(errWatchSilent) })
	defer alive.Stop()
	next := func() (*nats.Msg, error) {
		select {
		case m := <-come:
			alive.Reset(quiet)
			return m, nil
		case <-client.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return w.take(next, pending)
}

// probe finds out that this server was cut off from its cluster: to who only watches, that looks as if nothing changed.
// It asks for a consumer that nobody listens to, which takes a majority and no other right than to watch. Where there is
// no other server to go to, the answer would change nothing, and is spared.
func (w *watch) probe(ctx context.Context) {
	client := w.bucket.client
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if client.heardSince(probeEvery) || client.alone() {
			continue
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTime)
		_, err := client.js.CreatePushConsumer(attempt, bucketStream+w.bucket.name, jetstream.ConsumerConfig{
			Name: nuid.Next(), DeliverSubject: client.nc.NewInbox(), FilterSubject: bucketSubject + w.bucket.name + "." + w.pattern,
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1,
			InactiveThreshold: time.Second, MemoryStorage: true, Replicas: 1,
		})
		cancel()
		if ctx.Err() != nil {
			return
		}
		client.judge(libraryError(err))
	}
}

// take hands on what next returns: first what was there, in one piece, and then each change.
func (w *watch) take(next func() (*nats.Msg, error), pending uint64) error {
	initial := make([]Change, 0, min(pending, 1024))
	if pending == 0 {
		w.hand(initial, true)
	}
	for last := uint64(0); ; {
		m, err := next()
		if err != nil {
			return err
		}
		if m.Header.Get("Status") != "" { // a heartbeat, which tells what should have come before it
			if at := m.Header.Get("Nats-Last-Consumer"); at != "" && at != strconv.FormatUint(last, 10) {
				return errWatchGap
			}
			continue
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != last+1 {
			return errWatchGap
		}
		last = meta.Sequence.Consumer
		change := w.change(m, meta)
		switch {
		case last < pending:
			initial = append(initial, change)
		case last == pending:
			w.hand(append(initial, change), true)
			initial = nil
		default:
			w.hand([]Change{change}, false)
		}
	}
}

// consumer makes the server send to an inbox: the last message of each key, then what comes. It returns how many
// there are at first. The server forgets it when nobody listens any more.
func (w *watch) consumer(ctx context.Context, inbox string, beat, patience time.Duration) (pending uint64, err error) {
	err = within(ctx, patience, func(ctx context.Context) error {
		made, err := w.bucket.client.js.CreatePushConsumer(ctx, bucketStream+w.bucket.name, jetstream.ConsumerConfig{
			Name: nuid.Next(), DeliverSubject: inbox, FilterSubject: bucketSubject + w.bucket.name + "." + w.pattern,
			DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
			MaxDeliver: 1, IdleHeartbeat: beat, InactiveThreshold: orphaned, MemoryStorage: true, Replicas: 1,
		})
		err = libraryError(err)
		w.bucket.client.judge(err)
		if err != nil {
			return err
		}
		pending = made.CachedInfo().NumPending
		return nil
	})
	return pending, err
}

func (w *watch) change(m *nats.Msg, meta *nats.MsgMetadata) Change {
	kind := m.Header.Get(headerKind)
	return Change{Entry: Entry{
		Key:   strings.TrimPrefix(m.Subject, bucketSubject+w.bucket.name+"."),
		Value: m.Data, Revision: meta.Sequence.Stream, Time: meta.Timestamp,
	}, Deleted: kind == kindDeleted || kind == "PURGE"}
}

// hand hands on what is newer than before. A replica that lags behind shows older values with older times; a bucket
// that was made anew counts revisions from the start, with newer times.
func (w *watch) hand(changes []Change, whole bool) {
	news := changes[:0]
	for _, c := range changes {
		if old, known := w.seen[c.Key]; known && c.Revision <= old.revision && !c.Time.After(old.time) {
			continue
		}
		w.seen[c.Key] = mark{c.Revision, c.Time}
		news = append(news, c)
	}
	first := whole && w.complete == 0
	if whole {
		w.complete++
	}
	if len(news) > 0 || first {
		w.changed(news)
	}
}
