package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/bus"
)

// taken is a watcher of one key whose holder turned against the bus. It speaks as the library lets it.
func taken(t *testing.T, r *rig) *nats.Conn {
	t.Helper()
	p := bus.MayWatch("fleet", "edge.a")
	r.rules.set(web, &p)
	nc, err := raw(t, r, r.ca.client(r.ca.issue(t, web, time.Hour)), nats.CustomInboxPrefix(bus.Inbox(web)))
	must(t, err)
	return nc
}

// ask asks for a consumer of the one key that the taken watcher may read, and has the answer sent to a subject.
func ask(t *testing.T, nc *nats.Conn, reply string, change map[string]any) {
	t.Helper()
	config := map[string]any{"name": "x", "filter_subject": "$KV.fleet.edge.a", "ack_policy": "none"}
	maps.Copy(config, change)
	q, err := json.Marshal(map[string]any{"stream_name": bus.BucketStream("fleet"), "config": config})
	must(t, err)
	must(t, nc.PublishRequest("$JS.API.CONSUMER.CREATE.KV_fleet."+config["name"].(string)+".$KV.fleet.edge.a", reply, q))
	must(t, nc.FlushTimeout(10*time.Second))
}

// TestTakenWatcher holds that who may watch a key of a bucket cannot change the bucket: JetStream sends its answers, and what
// consumers deliver, to any subject that its asker names.
func TestTakenWatcher(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "fleet"})
	must(t, err)
	for _, key := range []string{"edge.a", "other.a"} {
		_, err = b.Put(ctx, key, []byte("good"))
		must(t, err)
	}
	nc := taken(t, r)
	for i, subject := range []string{
		"$KV.fleet.other.a", "$KV.fleet.edge.a", "$KV.fleet.new", "$JS.API.STREAM.PURGE.KV_fleet", "$JS.API.STREAM.DELETE.KV_fleet",
		"$JS.API.STREAM.MSG.DELETE.KV_fleet", "$JS.API.CONSUMER.CREATE.KV_fleet", "$SYS.REQ.SERVER.PING.STATSZ",
	} {
		name := "a" + string(rune('a'+i))
		ask(t, nc, subject, map[string]any{"name": name})
		deliver := map[string]any{"name": name + "d", "deliver_subject": subject, "headers_only": true, "deliver_policy": "all"}
		ask(t, nc, bus.Inbox(web)+".x", deliver)
		deliver["name"], deliver["idle_heartbeat"] = name+"h", 100*time.Millisecond
		ask(t, nc, bus.Inbox(web)+".x", deliver)
	}
	heard, err := nc.SubscribeSync(bus.Inbox(web) + ".beat")
	must(t, err)
	ask(t, nc, bus.Inbox(web)+".x", map[string]any{"name": "beat", "deliver_subject": heard.Subject, "deliver_policy": "new", "idle_heartbeat": 300 * time.Millisecond})
	_, err = heard.NextMsg(20 * time.Second) // by now the others have beaten, if they do
	must(t, err)
	whole := watching(t, b, ">")
	eventually(t, "the bucket is as it was", func() bool { return whole.is(map[string]string{"edge.a": "good", "other.a": "good"}) })
	e, err := b.Get(ctx, "edge.a")
	must(t, err)
	if e.Revision != 1 {
		t.Errorf("the key was written at revision %d", e.Revision)
	}
	other := r.as(t, "spiffe://example/service/other", bus.MayRequest("$KV.fleet.>"))
	if _, err := other.Bucket("fleet").Put(ctx, "edge.a", nil); !errors.Is(err, bus.ErrNotPermitted) {
		t.Errorf("one who is not control writes: %v", err)
	}
}

// TestServeFair holds that who floods a service with requests makes nobody else wait for more than a part of them.
func TestServeFair(t *testing.T) {
	r := newRig(t)
	server := r.role(t, bus.Control)
	const flooder, honest = "spiffe://example/service/flooder", "spiffe://example/service/honest"
	var once sync.Once
	hold, first, served := make(chan struct{}), make(chan struct{}), make(chan string, 1024)
	background(t, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "test.ask.*", From: 3, Workers: 1, Waiting: 64}, func(_ context.Context, a bus.Asked) ([]byte, error) {
			served <- a.From
			once.Do(func() { close(first) })
			<-hold
			return nil, nil
		})
	})
	must(t, server.Await(soon(t)))
	send := func(id string, times int) {
		t.Helper()
		subject := "test.ask." + bus.SubjectToken(id)
		p := bus.MayRequest(subject)
		r.rules.set(id, &p)
		nc, err := raw(t, r, r.ca.client(r.ca.issue(t, id, time.Hour)), nats.CustomInboxPrefix(bus.Inbox(id)))
		must(t, err)
		busy, err := nc.SubscribeSync(nc.NewInbox())
		must(t, err)
		for range times {
			must(t, nc.PublishRequest(subject, busy.Subject, nil))
		}
		must(t, nc.FlushTimeout(10*time.Second))
		_, err = busy.NextMsg(20 * time.Second) // it has been told to be back later: all that it may have waits
		must(t, err)
	}
	send(flooder, 1000)
	<-first
	send(honest, 64/8+1)
	close(hold)
	for n := 0; ; n++ {
		if <-served == honest {
			return
		}
		if n > 64/8+1 {
			t.Fatal("the honest one waits behind all of the flood")
		}
	}
}

// TestServeLarge holds that requests that are too large are not held until somebody has time for them.
func TestServeLarge(t *testing.T) {
	r := newRig(t)
	server := r.role(t, bus.Control)
	hold, first := make(chan struct{}), make(chan struct{}, 1)
	background(t, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "test.ask.*", From: 3, Workers: 1, MaxData: 1000}, func(context.Context, bus.Asked) ([]byte, error) {
			first <- struct{}{}
			<-hold
			return nil, nil
		})
	})
	defer close(hold)
	must(t, server.Await(soon(t)))
	subject := "test.ask." + bus.SubjectToken(web)
	p := bus.MayRequest(subject)
	r.rules.set(web, &p)
	nc, err := raw(t, r, r.ca.client(r.ca.issue(t, web, time.Hour)), nats.CustomInboxPrefix(bus.Inbox(web)))
	must(t, err)
	must(t, nc.PublishRequest(subject, nc.NewInbox(), make([]byte, 1000))) // as large as may be
	<-first
	for what, m := range map[string]*nats.Msg{
		"data":    {Subject: subject, Data: make([]byte, 1001)},
		"headers": {Subject: subject, Header: nats.Header{"Large": {strings.Repeat("x", 1<<20)}}},
	} {
		answer, err := nc.RequestMsg(m, 20*time.Second)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if text := fmt.Sprint(answer.Header); !strings.Contains(text, "the request is too large") {
			t.Errorf("%s: answered %s", what, text)
		}
	}
}

// TestStreamShare holds that a stream, also one that was made without bounds, takes nothing that is too large, and of one sender
// no more than its share.
func TestStreamShare(t *testing.T) {
	r := newRig(t)
	o := bus.StreamOptions{Name: "EVENTS", Subjects: []string{"events.*"}}
	must(t, r.control.MakeStream(soon(t), o))
	o.Message, o.Share = 1000, 3
	must(t, r.control.MakeStream(soon(t), o))
	publish := func(subject string, size int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := r.control.Publish(ctx, bus.Message{Subject: subject, Data: make([]byte, size)})
		return err
	}
	if err := publish("events.a", 1001); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("what is too large: %v", err)
	}
	for range o.Share {
		must(t, publish("events.a", 900))
	}
	if err := publish("events.a", 1); !errors.Is(err, bus.ErrFull) {
		t.Errorf("more than its share: %v", err)
	}
	if err := publish("events.b", 1); err != nil {
		t.Errorf("another's: %v", err)
	}
}

// TestHoard holds that who makes watches without end is cut off, that the server forgets them, and that who is beside it stays.
func TestHoard(t *testing.T) {
	r := newRig(t)
	_, err := r.control.MakeBucket(soon(t), bus.BucketOptions{Name: "fleet"})
	must(t, err)
	background(t, func(ctx context.Context) error {
		return bus.NewOperator(r.system).GuardWatches(ctx, r.control, "fleet")
	})
	must(t, r.control.Await(soon(t)))
	other := r.as(t, "spiffe://example/service/other", bus.MayWatch("fleet", "edge.b"))
	seen := watching(t, other.Bucket("fleet"), "edge.b")
	eventually(t, "another watches", func() bool { return seen.is(map[string]string{}) })
	nc := taken(t, r)
	for i := 0; nc.IsConnected(); i++ {
		if i > 10_000 {
			t.Fatal("it makes watches without end")
		}
		q, err := json.Marshal(map[string]any{"stream_name": "KV_fleet", "config": map[string]any{
			"name": fmt.Sprint("d", i), "durable_name": fmt.Sprint("d", i), "filter_subject": "$KV.fleet.edge.a", "ack_policy": "none", "deliver_subject": bus.Inbox(web) + ".x",
		}})
		must(t, err)
		answer, err := nc.Request(fmt.Sprint("$JS.API.CONSUMER.CREATE.KV_fleet.d", i, ".$KV.fleet.edge.a"), q, 20*time.Second)
		if err != nil {
			break
		}
		var made struct {
			Config struct {
				Inactive time.Duration `json:"inactive_threshold"`
			} `json:"config"`
		}
		must(t, json.Unmarshal(answer.Data, &made))
		if made.Config.Inactive == 0 || made.Config.Inactive > time.Minute {
			t.Fatalf("a watch that nobody listens to stays for %v", made.Config.Inactive)
		}
	}
	eventually(t, "it is cut off", func() bool { return !nc.IsConnected() })
	if !other.Connected() {
		t.Error("another is cut off")
	}
}
