package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// recorder is the engine's recorder: the journal first, then everything that looks on.
type recorder struct {
	journal *journal.Journal
	metrics *observe.Metrics
	lines   *observe.Lines // nil: quiet
	json    *jsonLines     // nil: text
	spans   *observe.Spans // nil: no collector
	buffers sync.Pool
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
	r.metrics.Observe(e)
	if r.lines != nil {
		r.lines.Observe(e)
	}
	if r.spans != nil {
		r.spans.Observe(e)
	}
}
