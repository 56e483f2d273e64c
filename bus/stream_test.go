package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

// collector keeps what a consumer was handed, by id.
type collector struct {
	mu    sync.Mutex
	times map[string]int
	order []string
	fail  func(m bus.Message) bool
}

func newCollector() *collector { return &collector{times: map[string]int{}} }

func (c *collector) handle(_ context.Context, messages []bus.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		if c.fail != nil && c.fail(m) {
			return errors.New("not now")
		}
	}
	for _, m := range messages {
		if c.times[m.ID]++; c.times[m.ID] == 1 {
			c.order = append(c.order, m.ID)
		}
	}
	return nil
}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

func TestStream(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	must(t, r.control.MakeStream(ctx, bus.StreamOptions{Name: "EVENTS", Subjects: []string{"events.>"}}))
	one, err := r.control.Publish(ctx, bus.Message{Subject: "events.a", ID: "once", Data: []byte("x")})
	must(t, err)
	again, err := r.control.Publish(ctx, bus.Message{Subject: "events.a", ID: "once", Data: []byte("x")})
	must(t, err)
	if one != again {
		t.Errorf("a repeated message got %d and %d", one, again)
	}
	var batch []bus.Message
	for i := range 2500 { // three batches
		batch = append(batch, bus.Message{Subject: "events.b", ID: fmt.Sprint(i), Data: []byte("y")})
	}
	must(t, r.control.PublishAll(ctx, batch))
	must(t, r.control.PublishAll(ctx, batch[2000:])) // known already: nothing is stored twice, and no error
	c := newCollector()
	refused := 0
	c.fail = func(m bus.Message) bool { // the first two deliveries of one of them fail
		if m.ID == "1234" && refused < 2 {
			refused++
			return true
		}
		return false
	}
	background(t, func(ctx context.Context) error {
		return r.control.Consume(ctx, bus.ConsumeOptions{Stream: "EVENTS", Name: "tail"}, c.handle)
	})
	eventually(t, "all messages", func() bool { return c.count() == 2501 })
	for id, n := range c.times {
		if n != 1 {
			t.Fatalf("message %q was handled %d times", id, n)
		}
	}
}

// TestStreamFull shows that a full stream takes nothing more and loses nothing.
func TestStreamFull(t *testing.T) { streamFull(t, newRig(t).control, 1) }

// streamFull fills a stream from several sides. What was acknowledged is handed out, once; what was refused is taken when there is
// room, under the same ids.
func streamFull(t *testing.T, client *bus.Client, replicas int) {
	t.Helper()
	must(t, client.MakeStream(soon(t), bus.StreamOptions{Name: "SMALL", Subjects: []string{"small"}, MaxBytes: 256 << 10, Replicas: replicas}))
	publish := func(ctx context.Context, id string) error {
		_, err := client.Publish(ctx, bus.Message{Subject: "small", ID: id, Data: make([]byte, 4096)})
		return err
	}
	var mu sync.Mutex
	stored, full, refused := 0, 0, []string(nil)
	var sides sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for side := range 8 {
		sides.Go(func() {
			for i := range 100 {
				id := fmt.Sprint(side, "-", i)
				err := publish(ctx, id)
				mu.Lock()
				if err == nil {
					stored++
				} else {
					refused = append(refused, id)
				}
				if errors.Is(err, bus.ErrFull) {
					full++
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a full stream: %v", err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	sides.Wait()
	if stored == 0 || stored > 64 || full == 0 {
		t.Fatalf("%d are stored, %d refused, %d of them since it was full", stored, len(refused), full)
	}
	c := newCollector()
	background(t, func(ctx context.Context) error {
		return client.Consume(ctx, bus.ConsumeOptions{Stream: "SMALL", Name: "all", Once: true}, c.handle)
	})
	for _, id := range refused {
		must(t, publish(soon(t), id))
	}
	eventually(t, "what was acknowledged, and what was refused", func() bool { return c.count() == stored+len(refused) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.times {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
}

// TestBackPressure shows that a slow handler is not handed more than one batch, which ends by its messages or by their bytes.
func TestBackPressure(t *testing.T) {
	for name, o := range map[string]bus.ConsumeOptions{"messages": {Batch: 10}, "bytes": {Bytes: 10 << 10}} {
		t.Run(name, func(t *testing.T) { backPressure(t, o, 10) })
	}
}

// backPressure has a hundred messages of a kibibyte handled one batch after the other.
func backPressure(t *testing.T, o bus.ConsumeOptions, most int) {
	t.Helper()
	r := newRig(t)
	ctx := soon(t)
	must(t, r.control.MakeStream(ctx, bus.StreamOptions{Name: "WORK", Subjects: []string{"work"}}))
	var batch []bus.Message
	for range 100 {
		batch = append(batch, bus.Message{Subject: "work", Data: make([]byte, 1<<10)})
	}
	must(t, r.control.PublishAll(ctx, batch))
	sizes, goOn := make(chan int), make(chan struct{})
	o.Stream, o.Name = "WORK", "slow"
	background(t, func(ctx context.Context) error {
		return r.control.Consume(ctx, o, func(ctx context.Context, m []bus.Message) error {
			select {
			case sizes <- len(m):
			case <-ctx.Done():
				return ctx.Err()
			}
			<-goOn
			return nil
		})
	})
	largest := 0
	for sum := 0; sum < 100; {
		n := <-sizes
		if largest = max(largest, n); n > most {
			t.Errorf("a batch of %d", n)
		}
		sum += n
		select {
		case n := <-sizes:
			t.Fatalf("%d more before the first were handled", n)
		default:
		}
		goOn <- struct{}{}
	}
	if largest < most/2 {
		t.Errorf("no batch has more than %d messages", largest)
	}
}

// TestOnce has two share a consumer: what both have acknowledged leaves the stream, and nothing that only the other has.
func TestOnce(t *testing.T) {
	for name, prepare := range map[string]func(*bus.Client) error{
		"new":        func(*bus.Client) error { return nil },
		"work queue": func(c *bus.Client) error { return c.MakeQueue(t.Context(), "WORK", "work") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			must(t, prepare(r.control))
			must(t, r.control.MakeStream(soon(t), bus.StreamOptions{Name: "WORK", Subjects: []string{"work"}}))
			var all []bus.Message
			for i := range 100 {
				all = append(all, bus.Message{Subject: "work", ID: fmt.Sprint(i)})
			}
			must(t, r.control.PublishAll(soon(t), all[:1]))
			held := func() uint64 {
				n, err := r.control.Held(soon(t), "WORK")
				must(t, err)
				return n
			}
			o, c := bus.ConsumeOptions{Stream: "WORK", Name: "all", Once: true}, newCollector()
			took, fail := make(chan struct{}), make(chan struct{})
			background(t, func(ctx context.Context) error { // takes the first, and cannot handle it
				return r.control.Consume(ctx, o, func(ctx context.Context, m []bus.Message) error {
					select {
					case took <- struct{}{}:
						<-fail
						return errors.New("not now")
					case <-fail:
						return c.handle(ctx, m)
					}
				})
			})
			<-took
			other := r.role(t, bus.Control)
			background(t, func(ctx context.Context) error { return other.Consume(ctx, o, c.handle) })
			must(t, r.control.PublishAll(soon(t), all[1:]))
			eventually(t, "the others are handled", func() bool { return c.count() == 99 })
			n := held()
			close(fail)
			if n == 0 {
				t.Error("the one that is not handled has left the stream")
			}
			eventually(t, "all are handled", func() bool { return c.count() == 100 })
			eventually(t, "all have left the stream", func() bool { return held() == 0 })
		})
	}
}

// TestAgain: what cannot be handled comes again soon, also while others are acknowledged and leave the stream.
func TestAgain(t *testing.T) {
	const n = 8
	r := newRig(t)
	must(t, r.control.MakeStream(soon(t), bus.StreamOptions{Name: "WORK", Subjects: []string{"work"}}))
	for i := range n {
		must(t, r.control.PublishAll(soon(t), []bus.Message{{Subject: "work", ID: fmt.Sprint(i)}}))
	}
	c := newCollector()
	background(t, func(ctx context.Context) error {
		return r.control.Consume(ctx, bus.ConsumeOptions{Stream: "WORK", Name: "all", Once: true, Timeout: time.Hour}, func(ctx context.Context, m []bus.Message) error {
			if m[0].Try == 1 {
				return errors.New("not now")
			}
			time.Sleep(200 * time.Millisecond) // longer than clearEvery, and than the others wait
			return c.handle(ctx, m)
		})
	})
	eventually(t, "all are handled", func() bool { return c.count() == n })
	eventually(t, "all have left the stream", func() bool {
		held, err := r.control.Held(soon(t), "WORK")
		must(t, err)
		return held == 0
	})
}
