package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/proxy/listen"
)

// serveAdmin binds the admin listener of an edge.
func (e *edge) serveAdmin() error {
	ed := &e.gate.Snapshot.Edge
	if ed.Admin == "" {
		return nil
	}
	o := listen.Options{Address: ed.Admin, Header: ed.Timeouts.Header.Std(), Idle: ed.Timeouts.Idle.Std(), Drain: ed.Timeouts.Drain.Std()}
	s, err := bindAdmin(e.ctx, o, e.metrics, e.ready)
	if err != nil {
		return fmt.Errorf("edge.admin: %w", err)
	}
	e.group.Go(func() error { return s.Run(e.ctx) })
	return nil
}

// bindAdmin binds an admin listener: metrics and health, nothing that changes anything.
func bindAdmin(ctx context.Context, o listen.Options, m *observe.Metrics, ready func() error) (*listen.Server, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { health(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { health(w, ready()) })
	o.Name, o.HTTP, o.HeaderBytes, o.Connections, o.PerAddress = "admin", mux, 16<<10, 256, 256
	return listen.Bind(ctx, o)
}

// ready tells why the gateway should get no requests, if so.
func (e *edge) ready() error {
	e.mu.Lock()
	auth := e.auth
	e.mu.Unlock()
	errs := []error{auth.Ready()}
	if e.remote != nil {
		errs = append(errs, e.remote.Client().Ready())
	}
	if err := e.journal.Err(); err != nil && e.engine.Table().Strict {
		errs = append(errs, fmt.Errorf("the record cannot be written: %w", err))
	}
	if e.memory != nil {
		errs = append(errs, e.memory.ready())
	}
	return errors.Join(errs...)
}

func health(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]string{"status": "ok"}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		answer = map[string]string{"status": "unready", "reason": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // a prober that is gone needs no answer
}

// jsonLines writes one JSON event per line.
type jsonLines struct {
	mu  sync.Mutex
	out io.Writer
}

func (j *jsonLines) write(event []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.out.Write(append(slices.Clip(event), '\n')) // a reader that is gone is not the request's error
}
