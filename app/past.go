package app

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Span is a time of which events are looked at.
type Span struct {
	Since time.Time // from then on; zero: all
	Until time.Time // before then; zero: all
}

// finding opens where events are found: in a folder that is named, or where find looks.
func (o *Options) finding(ctx context.Context, folder string) (*finder, error) {
	if folder != "" {
		return o.folder(ctx, folder)
	}
	_, snap, _, err := o.load(true)
	if err != nil {
		snap = nil // where records lie by custom
	}
	return o.find(ctx, snap)
}

var errEnough = errors.New("enough")

// decisions are the requests and connections of a time, newest first.
func decisions(ctx context.Context, from *finder, span Span) iter.Seq2[*event.Event, error] {
	q := query.Query{From: span.Since, To: span.Until, Where: query.Or{
		query.Is{Field: query.Kind, Value: query.KindRequest}, query.Is{Field: query.Kind, Value: query.KindConnection},
	}}
	return func(yield func(*event.Event, error) bool) {
		err := each(ctx, from.Events, q, func(e *event.Event) error {
			if !yield(e, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}
