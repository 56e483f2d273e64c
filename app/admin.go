package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/palisade-security/palisade/proxy/listen"
)

// serveAdmin binds the admin listener: metrics and health, nothing that changes anything.
func (e *edge) serveAdmin() error {
	ed := &e.gate.Snapshot.Edge
	if ed.Admin == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { health(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { health(w, e.ready()) })
	s, err := listen.Bind(e.ctx, listen.Options{
		Name: "admin", Address: ed.Admin, HTTP: mux,
		Header: ed.Timeouts.Header.Std(), Idle: ed.Timeouts.Idle.Std(), Drain: ed.Timeouts.Drain.Std(),
		HeaderBytes: 16 << 10, Connections: 256, PerAddress: 256,
	})
	if err != nil {
		return fmt.Errorf("edge.admin: %w", err)
	}
	e.group.Go(func() error { return s.Run(e.ctx) })
	return nil
}

// ready tells why the gateway should get no requests, if so.
func (e *edge) ready() error {
	e.mu.Lock()
	auth := e.auth
	e.mu.Unlock()
	errs := []error{auth.Ready()}
	if err := e.journal.Err(); err != nil && e.engine.Table().Strict {
		errs = append(errs, fmt.Errorf("the record cannot be written: %w", err))
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
