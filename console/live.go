package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// The bounds of streams.
const (
	mostStreams = 64 // of all sessions; each asks the store once a second
	ofOne       = 4  // of one session
	tickEvery   = time.Second
	tickRows    = 100              // of one tick; more are counted
	overlap     = 30 * time.Second // what took so long before it was written is still found
	quietEvery  = 15               // ticks without events after which a comment shows that the stream lives
	writeTime   = 10 * time.Second
)

type live struct {
	Query   string
	Mistake *mistake
}

func (c *Console) live(w http.ResponseWriter, r *http.Request, s *session) error {
	o := live{Query: r.URL.Query().Get("q")}
	_, o.Mistake = understand(o.Query)
	status := http.StatusOK
	if o.Mistake != nil {
		status = http.StatusBadRequest
	}
	c.show(w, r, s, status, "live", "Live", &o)
	return nil
}

// streams counts those that are open.
type streams struct {
	mu   sync.Mutex
	all  int
	each map[string]int // by the token of the session
}

func (o *streams) enter(token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all >= mostStreams || o.each[token] >= ofOne {
		return false
	}
	if o.each == nil {
		o.each = map[string]int{}
	}
	o.all++
	o.each[token]++
	return true
}

func (o *streams) leave(token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all--
	if o.each[token]--; o.each[token] == 0 {
		delete(o.each, token)
	}
}

// stream sends events as they come (server-sent events, HTML standard section 9.2). It ends with the session.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, s *session) error {
	where, wrong := understand(r.URL.Query().Get("q"))
	if wrong != nil {
		return &pageError{http.StatusBadRequest, "The query cannot be understood: " + wrong.Text}
	}
	if !c.streams.enter(s.token) {
		return &pageError{http.StatusTooManyRequests, "Too many pages show live requests; close one."}
	}
	defer c.streams.leave(s.token)
	w.Header().Set("Content-Type", "text/event-stream")
	f := &follower{where: where, since: time.Now(), seen: map[string]time.Time{}}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	quiet := quietEvery // so that the first answer comes at once
	for {
		out, err := c.news(r.Context(), f, time.Now())
		if err != nil {
			if r.Context().Err() == nil {
				c.o.Log.ErrorContext(r.Context(), "a stream of the console ended", "error", err)
			}
			return nil // the answer has begun
		}
		if quiet++; len(out) == 0 && quiet > quietEvery {
			out = []byte(":\n\n")
		}
		if len(out) > 0 {
			quiet = 0
			if !send(w, out) {
				return nil
			}
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		}
		if c.door.find(cookieOf(r), false, time.Now()) == nil {
			send(w, []byte("event: over\ndata: \n\n"))
			return nil
		}
	}
}

// send reports whether the browser took it.
func send(w http.ResponseWriter, data []byte) bool {
	rc := http.NewResponseController(w)
	if rc.SetWriteDeadline(time.Now().Add(writeTime)) != nil {
		return false
	}
	_, err := w.Write(data)
	return err == nil && rc.Flush() == nil && rc.SetWriteDeadline(time.Time{}) == nil // over HTTP/2 one that passes ends the stream
}

// follower finds what is new.
type follower struct {
	where query.Expr
	since time.Time
	seen  map[string]time.Time
}

// next returns events that were not there before, oldest first, and how many of them were left out.
func (f *follower) next(ctx context.Context, from Events, now time.Time) (events []*event.Event, omitted int, err error) {
	q := query.Query{From: f.since, Where: f.where}
	page, err := from.Last(ctx, q, 10*tickRows, query.Cursor{})
	if err != nil {
		return nil, 0, err
	}
	for _, e := range slices.Backward(page.Events) {
		if _, old := f.seen[query.Key(e)]; old || e.Open {
			continue
		}
		f.seen[query.Key(e)] = e.Time
		events = append(events, e)
	}
	if since := now.Add(-overlap); since.After(f.since) {
		f.since = since
	}
	for key, at := range f.seen {
		if at.Before(f.since) {
			delete(f.seen, key)
		}
	}
	omitted = max(0, len(events)-tickRows)
	return events[omitted:], omitted, nil
}

// news is what one tick sends.
func (c *Console) news(ctx context.Context, f *follower, now time.Time) ([]byte, error) {
	events, omitted, err := f.next(ctx, c.o.Events, now)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	var rows, out bytes.Buffer
	for _, e := range slices.Backward(events) {
		if err := c.pages["live"].ExecuteTemplate(&rows, "row", rowOf(e)); err != nil {
			return nil, err
		}
	}
	if omitted > 0 {
		fmt.Fprintf(&out, "event: omitted\ndata: %d\n\n", omitted)
	}
	out.WriteString("event: rows\n")
	// A line of the stream ends at CR, too, which a browser would take for the end of our data.
	for line := range bytes.Lines(bytes.ReplaceAll(rows.Bytes(), []byte("\r"), []byte(" "))) {
		out.WriteString("data: ")
		out.Write(bytes.TrimRight(line, "\n"))
		out.WriteByte('\n')
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
