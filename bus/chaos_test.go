package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

// load is what runs while a cluster suffers.
type load struct {
	mu           sync.Mutex
	acknowledged map[string]bool // messages
	value        int             // last acknowledged of the watched key
	writing      int             // the one that may or may not be stored
	requests     atomic.Int64    // answered
	views        []*view
	collected    *collector
}

func (l *load) messages() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

func (l *load) last() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

// until repeats do until the test is over.
func until(t *testing.T, do func(context.Context, int) error) {
	t.Helper()
	background(t, func(ctx context.Context) error {
		for i := 0; ; i++ {
			if err := do(ctx, i); ctx.Err() != nil {
				return context.Cause(ctx)
			} else if err != nil {
				return err
			}
		}
	})
}

func (c *cluster) load() *load {
	t := c.t
	l := &load{acknowledged: map[string]bool{}, collected: newCollector()}
	rules := &rules{of: map[string]bus.Permissions{}}
	r := &rig{ca: c.ca, keys: c.keys, rules: rules}
	for range 2 {
		callout(t, r, c.role(bus.Callout))
	}
	must(t, c.control.MakeStream(soon(t), bus.StreamOptions{Name: "EVENTS", Subjects: []string{"events.>"}, Replicas: 3}))
	b, err := c.control.MakeBucket(soon(t), bus.BucketOptions{Name: "models", Replicas: 3})
	must(t, err)
	for i := range 3 {
		id := fmt.Sprintf("spiffe://example/edge/%d", i)
		rules.set(id, &bus.Permissions{Publish: []string{"events." + bus.SubjectToken(id), "control.sign." + bus.SubjectToken(id), bus.MayWatch("models", "edge").Publish[0]}})
		client := c.as(id)
		l.views = append(l.views, watching(t, client.Bucket("models"), "edge"))
		until(t, func(ctx context.Context, n int) error { return l.publish(ctx, client, id, n) })
		until(t, func(ctx context.Context, _ int) error {
			_, err := client.Request(ctx, "control.sign."+bus.SubjectToken(id), []byte("x"))
			if err == nil {
				l.requests.Add(1)
			}
			return errors.Join(err, wait(ctx, 20*time.Millisecond))
		})
	}
	for range 2 {
		server := c.role(bus.Control)
		background(t, func(ctx context.Context) error {
			return server.Serve(ctx, bus.ServeOptions{Subject: "control.sign.*", Queue: "control", From: 3},
				func(_ context.Context, a bus.Asked) ([]byte, error) { return a.Data, nil })
		})
	}
	until(t, func(ctx context.Context, _ int) error { return l.write(ctx, b) })
	background(t, func(ctx context.Context) error {
		return c.role(bus.Control).Consume(ctx, bus.ConsumeOptions{Stream: "EVENTS", Name: "tail", Timeout: 5 * time.Second}, l.collected.handle)
	})
	return l
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish stores one message, then a batch.
func (l *load) publish(ctx context.Context, client *bus.Client, id string, n int) error {
	var batch []bus.Message
	for i := range 1 + n%2*20 {
		batch = append(batch, bus.Message{Subject: "events." + bus.SubjectToken(id), ID: fmt.Sprintf("%s-%d-%d", id, n, i), Data: make([]byte, 200)})
	}
	if err := client.PublishAll(ctx, batch); err != nil {
		return err
	}
	l.mu.Lock()
	for _, m := range batch {
		l.acknowledged[m.ID] = true
	}
	l.mu.Unlock()
	return wait(ctx, 10*time.Millisecond)
}

// write counts in the watched key.
func (l *load) write(ctx context.Context, b *bus.Bucket) error {
	l.mu.Lock()
	l.writing++
	n := l.writing
	l.mu.Unlock()
	if _, err := b.Put(ctx, "edge", []byte(strconv.Itoa(n))); err != nil {
		return err
	}
	l.mu.Lock()
	l.value = n
	l.mu.Unlock()
	return wait(ctx, 20*time.Millisecond)
}

// flows waits until everything has made progress, and says how long that took.
func (l *load) flows(t *testing.T, what string) {
	t.Helper()
	start := time.Now()
	messages, value, requests := l.messages(), l.last(), l.requests.Load()
	eventually(t, what+": messages are acknowledged", func() bool { return l.messages() > messages+100 })
	eventually(t, what+": keys are written", func() bool { return l.last() > value+5 })
	eventually(t, what+": requests are answered", func() bool { return l.requests.Load() > requests+20 })
	value = l.last()
	for i, v := range l.views {
		eventually(t, what+": watcher "+strconv.Itoa(i)+" sees what is new", func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			n, _ := strconv.Atoi(v.keys["edge"])
			return n >= value
		})
	}
	t.Logf("%s: everything flows after %v; %d messages, %d requests", what, time.Since(start).Round(time.Millisecond), l.messages(), l.requests.Load())
}

// TestChaos: nothing acknowledged is lost, watchers see the last value, and requests get answered after healing.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("builds, starts and kills nats-server")
	}
	c := startCluster(t)
	c.control = c.role(bus.Control)
	l := c.load()
	streams := []string{"EVENTS", bus.BucketStream("models")}
	l.flows(t, "at first")

	dead := c.leader("EVENTS")
	c.kill(dead)
	l.flows(t, "leader killed")
	c.start(dead)
	c.settled(streams...)
	l.flows(t, "leader back")

	apart := c.leader("EVENTS")
	c.part(apart)
	l.flows(t, "one node apart")
	c.heal(apart)
	c.settled(streams...)
	l.flows(t, "partition healed")

	c.kill(c.nodes[0])
	c.kill(c.nodes[1])
	_ = wait(t.Context(), 3*time.Second)
	before := l.messages()
	_ = wait(t.Context(), 5*time.Second)
	if n := l.messages(); n != before {
		t.Errorf("%d messages were acknowledged without a majority", n-before)
	}
	c.start(c.nodes[0])
	c.start(c.nodes[1])
	l.flows(t, "majority back")
	c.settled(streams...)

	for _, n := range c.nodes {
		c.stop(n)
		c.start(n)
		c.settled(streams...)
	}
	l.flows(t, "every node restarted")
	l.check(t)
}

// TestApart: a server that was cut off from its cluster is left by those who only answer, too. Otherwise nobody would be let in by
// the others, and no request of theirs be answered, for as long as the cut lasts.
func TestApart(t *testing.T) {
	if testing.Short() {
		t.Skip("builds, starts and parts nats-server")
	}
	c := startCluster(t)
	r := &rig{ca: c.ca, keys: c.keys, rules: &rules{of: map[string]bus.Permissions{}}}
	apart := c.nodes[rand.N(len(c.nodes))]
	at := func(role bus.Role) *bus.Client { // there by chance, since clients choose
		for {
			client := c.role(role)
			if client.At() == apart.name {
				return client
			}
			client.Close(brief(t))
		}
	}
	all := []*bus.Client{at(bus.Callout), at(bus.Control), at(bus.System)}
	callout(t, r, all[0])
	background(t, func(ctx context.Context) error {
		return all[1].Serve(ctx, bus.ServeOptions{Subject: "test.ask.*", From: 3}, func(_ context.Context, a bus.Asked) ([]byte, error) { return a.Data, nil })
	})
	eventually(t, "three servers", func() bool {
		servers, err := bus.NewOperator(all[2]).Servers(soon(t))
		return err == nil && len(servers) == 3
	})
	c.part(apart)
	start := time.Now()
	for _, client := range all {
		eventually(t, "the server apart is left", func() bool { return client.At() != apart.name && client.Connected() })
	}
	const id = "spiffe://example/service/asker"
	subject := "test.ask." + bus.SubjectToken(id)
	p := bus.MayRequest(subject)
	r.rules.set(id, &p)
	asker, err := bus.Connect(soon(t), bus.Options{Name: id, ID: id, URLs: c.urls(), TLS: c.ca.client(c.ca.issue(t, id, time.Hour)), Log: testLog(t)})
	must(t, err)
	defer asker.Close(brief(t))
	_, err = asker.Request(soon(t), subject, []byte("x"))
	must(t, err)
	servers, err := bus.NewOperator(all[2]).Servers(soon(t))
	if len(servers) != 2 {
		t.Errorf("%d servers are seen, %v", len(servers), err)
	}
	t.Logf("answered after %v", time.Since(start).Round(time.Millisecond))
}

// check holds that all that was acknowledged was consumed, and that no watcher saw
// an older value after a newer one.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	want := make([]string, 0, len(l.acknowledged))
	for id := range l.acknowledged {
		want = append(want, id)
	}
	l.mu.Unlock()
	missing := ""
	eventually(t, "all acknowledged messages are consumed", func() bool {
		l.collected.mu.Lock()
		defer l.collected.mu.Unlock()
		for _, id := range want {
			if l.collected.times[id] == 0 {
				missing = id
				return false
			}
		}
		missing = ""
		return true
	})
	if missing != "" {
		t.Errorf("%s was acknowledged and is lost", missing)
	}
	again := 0
	l.collected.mu.Lock()
	for _, n := range l.collected.times {
		if n > 1 {
			again++
		}
	}
	l.collected.mu.Unlock()
	for i, v := range l.views {
		v.mu.Lock()
		if v.older {
			t.Errorf("watcher %d saw an older value after a newer one", i)
		}
		v.mu.Unlock()
	}
	t.Logf("%d acknowledged, none lost; %d came more than once", len(want), again)
}
