// Package kafka sends events to a topic of Kafka, or of what speaks its protocol. The value is the event as recorded (OCSF,
// JSON); what belongs to one trace has the same key, and so the same partition and its order.
package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

// The mechanisms of SASL by which a User signs in.
const (
	ScramSHA512 = "scram-sha-512"
	ScramSHA256 = "scram-sha-256"
	Plain       = "plain"
)

// Options say where events go.
type Options struct {
	Brokers        []string // host:port, to begin with
	Topic          string
	User, Password string
	SASL           string // default ScramSHA512
	TLS            *tls.Config
}

// Target is one topic.
type Target struct{ client *kgo.Client }

// delivery is how long a request is tried again: less than sink's time for a batch, so that what failed is named.
const delivery = 20 * time.Second

// New connects lazily. Every replica that is in sync has a record before it counts as taken.
func New(o Options) (*Target, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.DefaultProduceTopic(o.Topic), kgo.ClientID("palisade"), kgo.RequiredAcks(kgo.AllISRAcks()),
		// Not by RecordDeliveryTimeout, which counts from the time of the event: the context of each batch ends what takes too long.
		kgo.AllowIdempotentProduceCancellation(), kgo.RetryTimeout(delivery), kgo.MaxBufferedRecords(2 * sink.DefaultRecords),
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		config.ServerName = "" // that of each broker
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if o.User != "" {
		m, err := mechanism(o)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing Kafka: %w", err)
	}
	return &Target{client}, nil
}

func mechanism(o Options) (sasl.Mechanism, error) {
	auth := scram.Auth{User: o.User, Pass: o.Password}
	switch cmp.Or(o.SASL, ScramSHA512) {
	case ScramSHA512:
		return auth.AsSha512Mechanism(), nil
	case ScramSHA256:
		return auth.AsSha256Mechanism(), nil
	case Plain:
		return plain.Auth{User: o.User, Pass: o.Password}.AsMechanism(), nil
	}
	return nil, fmt.Errorf("preparing Kafka: the mechanism %q is unknown", o.SASL)
}

// Close ends connections.
func (t *Target) Close() error {
	t.client.Close()
	return nil
}

// Send is sink.Target's.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	batch := make([]*kgo.Record, len(records))
	place := make(map[*kgo.Record]int, len(records))
	for i := range records {
		batch[i] = message(records[i].Event)
		place[batch[i]] = i
	}
	errs := make([]error, len(records))
	for _, result := range t.client.ProduceSync(ctx, batch...) {
		errs[place[result.Record]] = result.Err
	}
	return judge(errs)
}

func message(e *event.Event) *kgo.Record {
	return &kgo.Record{
		Key: []byte(cmp.Or(e.TraceID, e.ID)), Value: event.AppendJSON(nil, e), Timestamp: e.Time,
		Headers: []kgo.RecordHeader{
			{Key: "content-type", Value: []byte("application/json")}, {Key: "id", Value: []byte(e.UID())}, {Key: "class", Value: []byte(sink.Class(e))},
		},
	}
}

// judge says what became of a batch, by the error of each record.
func judge(errs []error) error {
	out := &sink.PartialError{}
	large := 0
	var first error
	for i, err := range errs {
		switch {
		case err == nil:
			continue
		case errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.InvalidTimestamp):
			out.Refused = append(out.Refused, sink.Refused{At: i, Reason: err.Error()})
			continue
		case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
			large++
		}
		out.Again = append(out.Again, i)
		first = cmp.Or(first, err)
	}
	switch {
	case len(out.Again)+len(out.Refused) == 0:
		return nil
	case large == len(errs):
		return sink.ErrTooLarge
	case len(out.Again) == len(errs):
		return fmt.Errorf("sending events: %w", first)
	case large == len(out.Again):
		out.After = -1 // by themselves
	}
	if first != nil {
		out.Reason = first.Error()
	}
	return out
}
