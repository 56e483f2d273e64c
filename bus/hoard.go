package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Bounds of the watches of one bucket. Each is a consumer, which costs the server memory and a goroutine.
const (
	mostOfIdentity = 1024        // of all connections of an identity together
	mostOfOne      = 64          // of one connection; an honest one has as many as it watches patterns, and some that are about to end
	watchesForgot  = time.Minute // after which the server forgets one that nobody listens to, whatever its maker asked for
	sessionsEnd    = 2 * time.Hour
)

// hoard is who has which watches. It is used by one goroutine.
type hoard struct {
	live map[string]consumer // by its name
	all  map[string]int      // by identity
	one  map[maker]int       // by connection
}

type consumer struct {
	id    string
	maker maker
	made  time.Time
}

// maker is a connection: its server and the server's number for it.
type maker struct {
	server string
	number uint64
}

func newHoard() *hoard {
	return &hoard{live: map[string]consumer{}, all: map[string]int{}, one: map[maker]int{}}
}

// made takes note of a new one, and tells whether its maker has too many.
func (h *hoard) made(name string, c consumer) (tooMany bool) {
	h.gone(name)
	h.live[name] = c
	h.all[c.id]++
	h.one[c.maker]++
	return h.all[c.id] > mostOfIdentity || h.one[c.maker] > mostOfOne
}

func (h *hoard) gone(name string) {
	c, known := h.live[name]
	if !known {
		return
	}
	delete(h.live, name)
	if h.all[c.id]--; h.all[c.id] == 0 {
		delete(h.all, c.id)
	}
	if h.one[c.maker]--; h.one[c.maker] == 0 {
		delete(h.one, c.maker)
	}
}

// sweep forgets what must have ended with its connection: that it did may not have been heard.
func (h *hoard) sweep(now time.Time) {
	for name, c := range h.live {
		if now.Sub(c.made) > sessionsEnd {
			h.gone(name)
		}
	}
}

// GuardWatches ends connections of identities that hoard watches of a bucket, until the context ends; it returns why. Fleet has the
// role Control. Nothing in permissions bounds how many consumers may be made by who may make one.
func (o *Operator) GuardWatches(ctx context.Context, fleet *Client, bucket string) error {
	work := make(chan *nats.Msg, calloutWaiting)
	stream := bucketStream + bucket
	deleted := "$JS.EVENT.ADVISORY.CONSUMER.DELETED." + stream + "."
	for _, subject := range []string{"$JS.EVENT.ADVISORY.API", deleted + ">"} {
		sub, err := fleet.nc.ChanSubscribe(subject, work)
		if err != nil {
			return fmt.Errorf("guarding the watches of %q: %w", bucket, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone, and the subscription with it
	}
	h, tick := newHoard(), time.NewTicker(sessionsEnd/8)
	defer tick.Stop()
	for {
		select {
		case m := <-work:
			if name, ok := strings.CutPrefix(m.Subject, deleted); ok {
				h.gone(name)
			} else if name, c, ok := madeConsumer(m.Data, stream); ok && h.made(name, c) {
				o.client.log.Warn("one who hoards watches is cut off", "id", c.id)
				if err := o.kick(ctx, c.maker.server, c.maker.number); err != nil {
					o.client.log.Warn("one who hoards watches is not cut off", "id", c.id, "error", err)
				}
			}
		case <-tick.C:
			h.sweep(time.Now())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-fleet.closed:
			return fmt.Errorf("guarding the watches of %q: %w", bucket, ErrClosed)
		}
	}
}

// madeConsumer reads an advisory about a request to JetStream (nats-server, JSAPIAudit): did an identity make a consumer of a stream?
func madeConsumer(data []byte, stream string) (name string, c consumer, ok bool) {
	var asked struct {
		Client struct {
			Server string `json:"server"`
			Number uint64 `json:"id"`
			Name   string `json:"user"`
		} `json:"client"`
		Subject  string `json:"subject"`
		Response string `json:"response"`
	}
	var answer struct {
		Name  string          `json:"name"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &asked) != nil || !strings.HasPrefix(asked.Subject, "$JS.API.CONSUMER.CREATE."+stream+".") {
		return "", c, false
	}
	if err := json.Unmarshal([]byte(asked.Response), &answer); err != nil || answer.Error != nil || answer.Name == "" {
		return "", c, false
	}
	id, _ := parseName(asked.Client.Name)
	if !strings.HasPrefix(id, "spiffe://") { // a role
		return "", c, false
	}
	return answer.Name, consumer{id, maker{asked.Client.Server, asked.Client.Number}, time.Now()}, true
}
