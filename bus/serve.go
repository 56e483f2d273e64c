package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Asked is a request as its handler sees it.
type Asked struct {
	ID      string // the same each time the same request is repeated; "" from a client that gives none
	Subject string
	From    string // whose it is, proven by its subject; "" if ServeOptions.From is 0
	Data    []byte
}

// ServeOptions are those of Serve.
type ServeOptions struct {
	Subject string // may be a pattern
	Queue   string // of all servers with one queue, one gets each request; empty: all do
	// From is the number of the token (1 is the first) that holds SubjectToken of the asker: 3 in
	// "control.sign.*". Permissions must let each identity send to its own subject alone.
	From    int
	Workers int           // handlers at once, default 16
	Waiting int           // requests that wait for one, default 64 for each; what is more is told when to be back
	MaxData int           // bytes of a request, default 1 MiB
	Timeout time.Duration // of a handler, default 10 s
}

func (o *ServeOptions) defaults() {
	o.Workers = max(o.Workers, 0)
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Waiting == 0 {
		o.Waiting = 64 * o.Workers
	}
	if o.MaxData == 0 {
		o.MaxData = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
}

// Serve answers requests until the context ends; it returns why, after the last handler has returned. An answer goes
// to an inbox only, and to the asker's own if From is set: a request must not make the server speak to others.
func (c *Client) Serve(ctx context.Context, o ServeOptions, handle func(context.Context, Asked) ([]byte, error)) error {
	if err := checkSubject(o.Subject, true); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	o.defaults()
	s := &service{client: c, options: o, handle: handle, work: make(chan waiting, o.Waiting), waits: map[string]int{}}
	sub, err := c.nc.QueueSubscribe(o.Subject, o.Queue, s.accept)
	if err != nil {
		return fmt.Errorf("serving %q: %w", o.Subject, err)
	}
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() { s.run(ctx) })
	}
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.closed:
		err = fmt.Errorf("serving %q: %w", o.Subject, ErrClosed)
	}
	s.stop()
	workers.Wait()
	if gone := sub.Unsubscribe(); gone != nil && !errors.Is(gone, nats.ErrConnectionClosed) && !errors.Is(gone, nats.ErrBadSubscription) {
		err = errors.Join(err, gone)
	}
	return err
}

type service struct {
	client  *Client
	options ServeOptions
	handle  func(context.Context, Asked) ([]byte, error)

	mu      sync.Mutex
	work    chan waiting
	waits   map[string]int // subject to how many of its requests wait
	stopped bool
}

// waiting is a request that waits for a handler.
type waiting struct {
	*nats.Msg
	since time.Time
}

// oneIn is the part of the queue that the requests of one subject may take: who floods it makes only itself wait.
const oneIn = 8

// An asker has given a request up after attemptTime and asks anew. What has waited for half of that is not begun with: its answer
// might come too late, and while there are too many, all work would be for askers that are gone.
const (
	waitTime  = attemptTime / 2
	busyAfter = time.Second // who comes while so many wait
)

// mostAround is what may be around the data of a request: its subject, where its answer goes, and headers.
const mostAround = 4 << 10

// accept queues a request, or tells the asker to come back. One that is too large is not held: a server of the bus lets
// messages be as large as control's are, since behind a callout it knows no bound for one connection alone.
func (s *service) accept(m *nats.Msg) {
	if len(m.Data) > s.options.MaxData || m.Size() > s.options.MaxData+mostAround {
		s.decline(m, &Refusal{Code: Wrong, Text: "the request is too large"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fair := s.options.From == 0 || s.waits[m.Subject] < max(s.options.Waiting/oneIn, 1)
	if !s.stopped && fair {
		select {
		case s.work <- waiting{m, time.Now()}:
			s.waits[m.Subject]++
			return
		default:
		}
	}
	s.turnAway(m)
}

// turnAway tells an asker to come back.
func (s *service) turnAway(m *nats.Msg) { s.decline(m, &Refusal{Code: Busy, After: busyAfter}) }

// decline answers a request without handling it.
func (s *service) decline(m *nats.Msg, why *Refusal) {
	if _, err := s.asked(m); err == nil {
		s.answer(m, refusal(why))
	}
}

func (s *service) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	close(s.work)
}

// run handles requests until there are no more.
func (s *service) run(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // what was accepted is answered
	for m := range s.work {
		s.begun(m.Subject)
		if time.Since(m.since) > waitTime {
			s.turnAway(m.Msg)
			continue
		}
		asked, err := s.asked(m.Msg)
		if err != nil {
			s.client.log.Warn("bus request dropped", "subject", m.Subject, "error", err)
			continue
		}
		s.answer(m.Msg, s.one(ctx, m.Msg, asked))
	}
}

// begun notes that a request waits no longer.
func (s *service) begun(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits[subject]--; s.waits[subject] == 0 {
		delete(s.waits, subject)
	}
}

func (s *service) one(ctx context.Context, m *nats.Msg, asked Asked) *nats.Msg {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	data, err := s.handle(ctx, asked)
	if err != nil {
		if _, meant := errors.AsType[*Refusal](err); !meant {
			s.client.log.Error("bus request failed", "subject", m.Subject, "from", asked.From, "error", err)
		}
		return refusal(err)
	}
	return &nats.Msg{Data: data}
}

// asked reads a request. What it refuses gets no answer, since it is not known where to.
func (s *service) asked(m *nats.Msg) (Asked, error) {
	a := Asked{ID: m.Header.Get(headerRequest), Subject: m.Subject, Data: m.Data}
	if !matches(s.options.Subject, m.Subject) { // a stream's consumer may deliver anything anywhere
		return a, errors.New("it was delivered here, but not sent here")
	}
	inbox := inboxes + "."
	if at := s.options.From; at > 0 {
		tokens := strings.Split(m.Subject, ".")
		if at > len(tokens) {
			return a, errors.New("its subject names no asker")
		}
		from, err := ParseSubjectToken(tokens[at-1])
		if err != nil {
			return a, err
		}
		a.From, inbox = from, Inbox(from)+"."
	}
	if !strings.HasPrefix(m.Reply, inbox) || checkSubject(m.Reply, false) != nil {
		return a, errors.New("it wants its answer where answers do not belong")
	}
	return a, nil
}

func (s *service) answer(to, m *nats.Msg) {
	if most := s.client.nc.MaxPayload(); most > 0 && int64(m.Size()) > most {
		m = refusal(&Refusal{Code: Failed, Text: "the answer is too large"})
	}
	m.Subject = to.Reply
	if err := s.client.nc.PublishMsg(m); err != nil { // the asker asks again
		s.client.log.Warn("bus answer not sent", "subject", to.Subject, "error", err)
	}
}
