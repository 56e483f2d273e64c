package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
)

// reader is an answer filter that looks for a word in the first bytes.
type reader struct {
	limit int
	word  string
	err   error // returned in place of a decision
}

func (f *reader) Answer(_ context.Context, r *proxy.Request, a *proxy.Answer) error {
	begin, whole, err := a.Peek(f.limit)
	switch {
	case err != nil:
		return err
	case f.err != nil:
		return f.err
	case strings.Contains(string(begin), f.word):
		return &proxy.Denial{Kind: proxy.KindWithheld, Reasons: []event.Reason{{Code: "leak"}}}
	case !whole:
		r.Note(event.Reason{Code: "partial"})
	}
	return nil
}

// watched is a route whose answers f sees; ends counts the exchanges that have ended.
func watched(f proxy.AnswerFilter, dry bool, ends *atomic.Int64, after ...engine.Step) *engine.Route {
	r := plain("/a")
	r.Steps = append([]engine.Step{{Stage: event.StageInspect, DryRun: dry, Filter: proxy.FilterFunc(func(_ context.Context, r *proxy.Request) error {
		r.OnAnswer(f)
		r.OnEnd(func() { ends.Add(1) })
		return nil
	})}}, after...)
	return r
}

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name   string
		filter proxy.AnswerFilter
		dry    bool
		serve  string // what the service answers
		status int
		slug   string
		note   string // a reason in the trail
	}{
		{name: "passes", filter: &reader{limit: 10, word: "secret"}, serve: "hello", status: 200},
		{name: "leaks", filter: &reader{limit: 10, word: "secret"}, serve: "a secret", status: 502, slug: "answer-withheld", note: "leak"},
		{name: "leaks in dry run", filter: &reader{limit: 10, word: "secret"}, dry: true, serve: "a secret", status: 200, note: "leak"},
		{name: "longer than the bound", filter: &reader{limit: 10, word: "secret"}, serve: long + "secret", status: 200, note: "partial"},
		{name: "empty", filter: &reader{limit: 10, word: "secret"}, status: 200},
		{name: "cannot decide", filter: &reader{limit: 10, word: "secret", err: errors.New("no idea")}, serve: "hello", status: 503, slug: "cannot-decide", note: "undecided"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ends atomic.Int64
			var coding string
			h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				coding = r.Header.Get("Accept-Encoding")
				_, _ = io.WriteString(w, c.serve)
			}), []*engine.Route{watched(c.filter, c.dry, &ends)}, nil)
			resp, body := h.get(t, "/a", "Accept-Encoding", "gzip")
			h.settled(t)
			e := h.events.last(t)
			if resp.StatusCode != c.status || e.Problem != c.slug {
				t.Fatalf("got %d %s %q", resp.StatusCode, e.Problem, body)
			}
			if c.status == 200 && body != c.serve {
				t.Errorf("the client got %d bytes of %d", len(body), len(c.serve))
			}
			if c.status != 200 && strings.Contains(body, "secret") {
				t.Errorf("leaked all the same: %s", body)
			}
			if e.Allowed != (c.status == 200) || e.DryRun != (c.dry && c.note == "leak") || e.UpstreamStatus != 200 {
				t.Errorf("event %+v", e)
			}
			last := e.Trail[len(e.Trail)-1]
			if last.Name != event.StageInspectAnswer || last.DryRun != c.dry || (c.note != "") != (len(last.Reasons) == 1 && last.Reasons[0].Code == c.note) {
				t.Errorf("trail ends with %+v", last)
			}
			if ends.Load() != 1 || coding != "identity" {
				t.Errorf("ended %d times, asked for coding %q", ends.Load(), coding)
			}
		})
	}
}

// settled waits until no request is in flight, so that all is recorded.
func (h *house) settled(t *testing.T) {
	t.Helper()
	for h.engine.InFlight() > 0 {
		runtime.Gosched()
	}
}

func TestAnswerBreaksOff(t *testing.T) {
	for _, dry := range []bool{false, true} {
		var ends atomic.Int64
		h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}), []*engine.Route{watched(&reader{limit: 50, word: "secret"}, dry, &ends)}, nil)
		resp, _ := h.get(t, "/a")
		h.settled(t)
		e := h.events.last(t)
		if resp.StatusCode != 502 || e.Problem != "upstream-failed" || e.Aborted != "upstream" || ends.Load() != 1 {
			t.Errorf("dry run %t: got %d %q %q, ended %d times", dry, resp.StatusCode, e.Problem, e.Aborted, ends.Load())
		}
	}
}

func TestEndsWhateverHappens(t *testing.T) {
	fail := func(f func() error) engine.Step {
		return engine.Step{Stage: event.StageValidate, Filter: proxy.FilterFunc(func(context.Context, *proxy.Request) error { return f() })}
	}
	for name, c := range map[string]struct {
		filter proxy.AnswerFilter
		after  []engine.Step
		broken bool // the client gets no answer
	}{
		"refused by a later stage": {filter: &reader{}, after: []engine.Step{fail(func() error { return &proxy.Denial{Kind: proxy.KindInvalid} })}},
		"a later stage panics":     {filter: &reader{}, after: []engine.Step{fail(func() error { panic("defect") })}, broken: true},
		"the answer filter panics": {broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			var ends atomic.Int64
			h := newHouse(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), []*engine.Route{watched(c.filter, false, &ends, c.after...)}, nil)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.localhost/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h.client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if (err != nil) != c.broken {
				t.Errorf("got error %v", err)
			}
			h.settled(t)
			if ends.Load() != 1 {
				t.Errorf("ended %d times", ends.Load())
			}
		})
	}
}

func TestDryRunForwardsNoHalfBody(t *testing.T) {
	called := false
	r := plain("/a")
	r.Steps = []engine.Step{{Stage: event.StageInspect, DryRun: true, Filter: proxy.FilterFunc(func(_ context.Context, r *proxy.Request) error {
		_, err := r.Body.Buffer(4)
		return err
	})}}
	h := newHouse(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }), []*engine.Route{r}, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://shop.localhost/a", io.MultiReader(strings.NewReader("12345"), strings.NewReader("6789")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	e := h.events.last(t)
	if resp.StatusCode != 413 || called || e.DryRun || e.Trail[len(e.Trail)-1].DryRun {
		t.Errorf("lost bytes: got %d, service called: %t, event %+v", resp.StatusCode, called, e)
	}
	// With a declared length nothing is read in vain, and the whole body goes on.
	if resp, _ := h.send(t, http.MethodPost, "/a", "123456789"); resp.StatusCode != 200 || !called || !h.events.last(t).DryRun {
		t.Errorf("declared length: got %d, service called: %t", resp.StatusCode, called)
	}
}
