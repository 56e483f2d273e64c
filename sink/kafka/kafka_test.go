package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// read takes n records from a topic.
func read(t *testing.T, n int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.ConsumeTopics("events"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []*kgo.Record
	for len(out) < n {
		got := c.PollFetches(t.Context())
		if err := got.Err(); err != nil {
			t.Fatal(err)
		}
		out = append(out, got.Records()...)
	}
	return out
}

func cluster(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(3), kfake.SeedTopics(4, "events"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

// TestSend sends to three brokers of the protocol's own double, over TLS and signed in.
func TestSend(t *testing.T) {
	secured := httptest.NewUnstartedServer(nil)
	secured.StartTLS()
	defer secured.Close()
	client := secured.Client().Transport.(*http.Transport).TLSClientConfig
	for _, mechanism := range []string{"", ScramSHA256, Plain} {
		t.Run("sasl "+mechanism, func(t *testing.T) {
			kind := strings.ToUpper(mechanism)
			if kind == "" {
				kind = "SCRAM-SHA-512"
			}
			brokers := cluster(t, kfake.EnableSASL(), kfake.Superuser(kind, "palisade", "s3cret"), kfake.TLS(&tls.Config{Certificates: secured.TLS.Certificates}))
			o := Options{Brokers: brokers, Topic: "events", User: "palisade", Password: "s3cret", SASL: mechanism, TLS: client}
			to, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			records := sinktest.Records(1000)
			if err := to.Send(t.Context(), records); err != nil {
				t.Fatal(err)
			}
			m, err := mechanismOf(o)
			if err != nil {
				t.Fatal(err)
			}
			check(t, records, read(t, len(records), kgo.SeedBrokers(brokers...), kgo.DialTLSConfig(client), m))
			o.Password = "wr0ng"
			other, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := other.Send(ctx, records[:1]); err == nil || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

func mechanismOf(o Options) (kgo.Opt, error) {
	m, err := mechanism(o)
	return kgo.SASL(m), err
}

// check compares what was read with what was sent: everything once, and traces in order.
func check(t *testing.T, sent []sink.Record, got []*kgo.Record) {
	t.Helper()
	want := map[string]*event.Event{}
	for _, r := range sent {
		want[r.Event.ID] = r.Event
	}
	of := map[string]int32{} // partition by key
	for _, r := range got {
		e, err := event.Parse(r.Value)
		if err != nil || want[e.ID] == nil || r.Timestamp.UnixMilli() != e.Time.UnixMilli() {
			t.Fatalf("%v: %s", err, r.Value)
		}
		delete(want, e.ID)
		if p, known := of[string(r.Key)]; known && p != r.Partition {
			t.Errorf("trace %s is in partitions %d and %d", r.Key, p, r.Partition)
		}
		of[string(r.Key)] = r.Partition
	}
	if len(want) != 0 || len(got) != len(sent) {
		t.Errorf("%d records, %d are missing", len(got), len(want))
	}
}

// TestLarge finds the record that no broker takes, with everything around it taken once.
func TestLarge(t *testing.T) {
	brokers := cluster(t)
	to, err := New(Options{Brokers: brokers, Topic: "events"})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	records := sinktest.Records(10)
	records[4].Event.Query = strings.Repeat("x", 2<<20)
	err = to.Send(t.Context(), records)
	partial, ok := errors.AsType[*sink.PartialError](err)
	if !ok || len(partial.Again) != 1 || partial.Again[0] != 4 || partial.After >= 0 {
		t.Fatalf("%v %+v", err, partial)
	}
	if err := to.Send(t.Context(), records[4:5]); !errors.Is(err, sink.ErrTooLarge) {
		t.Errorf("by itself: %v", err)
	}
	if got := read(t, 9, kgo.SeedBrokers(brokers...)); len(got) != 9 {
		t.Errorf("%d are there", len(got))
	}
}

func TestJudge(t *testing.T) {
	away := errors.New("connection refused")
	for name, c := range map[string]struct {
		errs []error
		want string
	}{
		"taken":    {[]error{nil, nil}, "<nil>"},
		"away":     {[]error{away, away}, "sending events: connection refused"},
		"partly":   {[]error{nil, away}, "the server refuses 0 events and wants 1 later: connection refused"},
		"refused":  {[]error{nil, kerr.InvalidRecord, kerr.InvalidTimestamp}, "the server refuses 2 events and wants 0 later: "},
		"mixed":    {[]error{kerr.InvalidRecord, away}, "the server refuses 1 events and wants 1 later: connection refused"},
		"largest":  {[]error{kerr.MessageTooLarge, fmt.Errorf("x: %w", kerr.MessageTooLarge)}, sink.ErrTooLarge.Error()},
		"no topic": {[]error{kerr.UnknownTopicOrPartition}, "sending events: " + kerr.UnknownTopicOrPartition.Error()},
	} {
		if got := fmt.Sprint(judge(c.errs)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestAway fails in time where there is no broker.
func TestAway(t *testing.T) {
	to, err := New(Options{Brokers: []string{"127.0.0.1:1"}, Topic: "events"})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := to.Send(ctx, sinktest.Records(3)); err == nil {
		t.Error("sent to nobody")
	}
	if _, err := New(Options{Brokers: []string{"127.0.0.1:1"}, Topic: "events", User: "x", SASL: "gssapi"}); err == nil {
		t.Error("an unknown mechanism")
	}
}
