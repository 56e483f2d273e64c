// Package sinks joins a record of events with the servers that a model exports to: it makes their targets, gives each a
// source with its filter, and starts and stops them as the model changes. How a batch is delivered is the business of
// package sink.
package sinks

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
)

// Options say what is exported, and from where.
type Options struct {
	Dir    string                              // one folder for each sink: its position and its dead letters
	Source func(where query.Query) sink.Source // a new one for each sink
	Getenv func(string) (string, bool)
	Host   string // name of this machine
	Log    *slog.Logger
}

// Sinks are those that the model in force names. They are safe for concurrent use.
type Sinks struct {
	opts Options

	mu      sync.Mutex
	running map[string]*running
}

// running is a sink at work.
type running struct {
	of   model.Export
	sink *sink.Sink
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
}

// New starts nothing.
func New(o Options) *Sinks { return &Sinks{opts: o, running: map[string]*running{}} }

// Check returns what of exports only the query language can tell.
func Check(exports []model.ResolvedExport) (out []model.Finding) {
	for i := range exports {
		if e := &exports[i]; e.Where != "" {
			if _, err := query.Parse(e.Where); err != nil {
				out = append(out, model.Finding{Severity: model.Error, Code: "bad-query", Position: e.Position, Key: "export." + e.Name + ".where", Text: err.Error(), Hint: "palisade events takes the same query: try it there"})
			}
		}
	}
	return out
}

// Follow runs the sinks that a model names until ctx ends, and ends those that it does not name any more. One that has
// changed begins anew where it was. On error all stays as it was.
func (s *Sinks) Follow(ctx context.Context, exports []model.ResolvedExport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	prepared := map[string]*prepared{}
	for i := range exports {
		e := &exports[i]
		if r := s.running[e.Name]; r != nil && reflect.DeepEqual(r.of, e.Export) {
			continue
		}
		p, err := s.prepare(e)
		if err != nil {
			return fmt.Errorf("export.%s: %w", e.Name, err)
		}
		prepared[e.Name] = p
	}
	for name, r := range s.running {
		named := slices.ContainsFunc(exports, func(e model.ResolvedExport) bool { return e.Name == name })
		if !named || prepared[name] != nil {
			r.end()
			delete(s.running, name)
		}
	}
	for i := range exports {
		if p := prepared[exports[i].Name]; p != nil {
			if err := s.start(ctx, &exports[i], p); err != nil { // a disk that fails: the others go on
				s.opts.Log.ErrorContext(ctx, "events are not exported", "export", exports[i].Name, "error", err)
			}
		}
	}
	return nil
}

// prepared is what can fail of a sink without touching the disk.
type prepared struct {
	options sink.Options // with Target, and what is of its kind
	where   query.Query
}

func (s *Sinks) prepare(e *model.ResolvedExport) (*prepared, error) {
	p := &prepared{}
	var err error
	if e.Where != "" {
		if p.where.Where, err = query.Parse(e.Where); err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
	}
	p.options, err = s.target(e)
	return p, err
}

// dir is the folder of a sink.
func (s *Sinks) dir(name string) string { return filepath.Join(s.opts.Dir, name) }

func (s *Sinks) start(ctx context.Context, e *model.ResolvedExport, p *prepared) error {
	log := s.opts.Log.With("export", e.Name, "kind", e.Kind)
	o := p.options
	o.Name, o.Kind, o.Dir, o.Source = e.Name, e.Kind, s.dir(e.Name), s.opts.Source(p.where)
	o.Changed = func(st sink.Status) {
		if st.Failing != "" {
			log.WarnContext(ctx, "events wait for the server they are exported to", "behind", st.Behind, "error", st.Failing)
		} else {
			log.InfoContext(ctx, "events are exported again", "behind", st.Behind)
		}
	}
	o.Refused = func(events uint64, at string) {
		log.WarnContext(ctx, "events were refused for good by the server they are exported to", "events", events, "file", at)
	}
	one, err := sink.Open(o)
	if err != nil {
		return err
	}
	own, cancel := context.WithCancel(ctx)
	r := &running{of: e.Export, sink: one, stop: cancel, done: make(chan struct{})}
	s.running[e.Name] = r
	go func() {
		defer close(r.done)
		if err := one.Run(own); err != nil {
			log.WarnContext(ctx, "closing an export", "error", err)
		}
	}()
	return nil
}

func (r *running) end() {
	r.stop()
	<-r.done
}

// Close ends all.
func (s *Sinks) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.running {
		r.end()
		delete(s.running, name)
	}
}

// Status returns how each sink stands, by name.
func (s *Sinks) Status() []sink.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]sink.Status, 0, len(s.running))
	for _, r := range s.running {
		out = append(out, r.sink.Status())
	}
	slices.SortFunc(out, func(a, b sink.Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}
