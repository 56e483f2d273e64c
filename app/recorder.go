package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
)

// recorder is the engine's recorder: the journal first, then everything that looks on.
type recorder struct {
	journal *journal.Journal
	dir     string // of the journal
	name    string // of the proxy whose record it is: a service, "edge" or "control"
	metrics *observe.Metrics
	lines   *observe.Lines // nil: quiet
	json    *jsonLines     // nil: text
	traces  traces
	buffers sync.Pool
	inForce atomic.Pointer[scope]
	gone    atomic.Uint64 // number up to which letGo had records deleted
}

// scope is what a snapshot says about the record.
type scope struct {
	fleet, version string
	redactor       *event.Redactor
	pseudonyms     bool                       // where events are kept they have pseudonyms
	words          func() map[string]struct{} // of the model, which name nobody
}

// serve makes snap the snapshot under which acts are recorded.
func (r *recorder) serve(snap *model.Snapshot) {
	r.inForce.Store(&scope{snap.Fleet, snap.Version, event.NewRedactor(snap.Redact), snap.Audit.Pseudonyms, sync.OnceValue(func() map[string]struct{} { return wordsOf(snap) })})
}

// close ends what outlives requests.
func (r *recorder) close(ctx context.Context) error {
	r.traces.close(ctx)
	return r.journal.Close()
}

func (r *recorder) buffer() *[]byte {
	if b, ok := r.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, 4096)
	return &b
}

// Durable returns when e is safe on disk.
func (r *recorder) Durable(ctx context.Context, e *event.Event) error {
	buf := r.buffer()
	defer r.buffers.Put(buf)
	*buf = event.AppendJSON((*buf)[:0], e)
	if _, err := r.journal.Append(ctx, *buf); err != nil {
		r.metrics.Lost(1)
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// Observe hands e to the journal without waiting and counts it as lost if the journal cannot take it.
func (r *recorder) Observe(e *event.Event) {
	buf := r.buffer()
	*buf = event.AppendJSON((*buf)[:0], e)
	if !r.journal.Offer(*buf) {
		r.metrics.Lost(1)
	}
	if r.json != nil {
		r.json.write(*buf)
	}
	r.buffers.Put(buf)
	r.show(e)
}

// show hands e to whatever looks on.
func (r *recorder) show(e *event.Event) {
	r.metrics.Observe(e)
	if r.lines != nil {
		r.lines.Observe(e)
	}
	r.traces.Observe(e)
}

const (
	actTimeout = 5 * time.Second // for the disk
	maxActText = 1 << 10         // bytes of each text
)

// Act records what was done or has happened. The caller sets Act, and Client if it is known; Time is now if it is zero. It is
// safe on disk when Act returns, but for what strangers can bring about, which is handed over without waiting.
func (r *recorder) Act(ctx context.Context, e *event.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.ID, e.Allowed = event.NewID(e.Time), e.Act.Outcome == event.Done
	for _, text := range []*string{&e.Act.Who, &e.Act.Object, &e.Act.Text} {
		*text = (*text)[:min(len(*text), maxActText)]
	}
	redactor := event.NewRedactor(nil)
	if in := r.inForce.Load(); in != nil {
		e.Fleet, e.Snapshot, redactor = in.fleet, in.version, in.redactor
	}
	e.Redact(redactor)
	if e.Act.Kind.Frequent() {
		r.Observe(e)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout)
	defer cancel()
	if err := r.Durable(ctx, e); err != nil {
		slog.ErrorContext(ctx, "an act is not recorded", "kind", e.Act.Kind, "who", e.Act.Who, "object", e.Act.Object, "error", err)
	}
	if r.json != nil {
		r.json.write(event.AppendJSON(nil, e))
	}
	r.show(e)
}
