package app

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// Span is a time of which events are looked at.
type Span struct {
	Since time.Time // from then on; zero: all
	Until time.Time // before then; zero: all
}

func (s *Span) holds(e *event.Event) bool {
	return !e.Time.Before(s.Since) && (s.Until.IsZero() || e.Time.Before(s.Until))
}

// recorded returns the folder of records that a verb looks at: the one that is named, or that of the model.
func (o *Options) recorded(from string) (string, error) {
	dir := from
	if dir == "" {
		state, err := o.state()
		if err != nil {
			return "", err
		}
		_, snap, _, err := o.load(true)
		if err != nil {
			snap = nil // where records lie by custom
		}
		dir = recordsDir(o, state, snap)
	} else {
		dir = withinState(dir)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no record in %s; palisade up, control, and each edge and sidecar begin one in their state directories%s", dir, elsewhereRecorded(dir))
	}
	return dir, nil
}

// pastBatch is how many records are read at once.
const pastBatch = 256

// lines are records that are being read.
type lines struct {
	data   []byte
	ends   []int
	warn   []error // of what could not be read before them
	events chan []*event.Event
}

// past yields the events of a time from a folder of records, in order; it reads them on all processors. What cannot be read is
// left out, and warned of.
func (o *Options) past(dir string, span Span) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		workers := runtime.GOMAXPROCS(0)
		work, ordered, stop := make(chan *lines), make(chan *lines, 2*workers), make(chan struct{})
		done := make(chan struct{})
		for range workers {
			go func() {
				for l := range work {
					l.events <- l.parse(span)
				}
				done <- struct{}{}
			}()
		}
		go func() {
			readLines(dir, stop, work, ordered)
			close(work)
			close(ordered)
			done <- struct{}{}
		}()
		defer func() {
			close(stop)
			for range ordered { // what was read on is left
			}
			for range workers + 1 {
				<-done
			}
		}()
		for l := range ordered {
			for _, err := range l.warn {
				fmt.Fprintf(o.Err, "warning: %v\n", err)
			}
			for _, e := range <-l.events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// readLines hands out all records, to those who read them and in order, until stop.
func readLines(dir string, stop <-chan struct{}, work, ordered chan<- *lines) {
	fresh := func() *lines { return &lines{events: make(chan []*event.Event, 1)} }
	l := fresh()
	send := func() bool {
		for _, to := range []chan<- *lines{ordered, work} {
			select {
			case to <- l:
			case <-stop:
				return false
			}
		}
		l = fresh()
		return true
	}
	for rec, err := range journal.Read(dir, 0) {
		if err != nil {
			l.warn = append(l.warn, err)
			continue
		}
		l.data = append(l.data, rec.Data...)
		if l.ends = append(l.ends, len(l.data)); len(l.ends) == pastBatch && !send() {
			return
		}
	}
	send()
}

// parse reads the events. Records of other programs are left out.
func (l *lines) parse(span Span) []*event.Event {
	var out []*event.Event
	from := 0
	for _, to := range l.ends {
		if e, err := event.Parse(l.data[from:to]); err == nil && span.holds(e) {
			out = append(out, e)
		}
		from = to
	}
	return out
}
