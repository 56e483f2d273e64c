package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/internal/local"
	"github.com/palisade-security/palisade/model"
)

// ReloadAnswer is what a running gateway says to "palisade reload".
type ReloadAnswer struct {
	Version  string          `json:"version,omitempty"` // in force now
	Error    string          `json:"error,omitempty"`
	Findings []model.Finding `json:"findings,omitempty"`
}

func socketPath(state string) string { return filepath.Join(state, "control.sock") }

// serveControl takes commands on a Unix socket that only the gateway's own user can open. Without it, file
// changes and SIGHUP still reload.
func (e *edge) serveControl() {
	ln, err := local.Listen(e.ctx, socketPath(e.state))
	if err != nil {
		slog.WarnContext(e.ctx, "no control socket; SIGHUP reloads", "error", err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		version, findings, err := e.Reload(r.Context())
		answer := ReloadAnswer{Version: version, Findings: findings}
		if err != nil {
			answer.Error = err.Error()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // whoever asked is gone if this fails
	})
	e.administrators(mux)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ConnContext: local.WithPeer}
	e.group.Go(func() error {
		stop := context.AfterFunc(e.ctx, func() { _ = s.Close() })
		defer stop()
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the control socket: %w", err)
		}
		return nil
	})
}

// Reload asks the gateway that runs on the state directory to read its model again.
func Reload(ctx context.Context, o *Options) (*ReloadAnswer, error) {
	state, err := o.state()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socketPath(state))
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/reload", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking the gateway: %w", err)
	}
	resp, err := client.Do(req)
	if nobodyThere(err) {
		return nil, fmt.Errorf("no gateway runs on %s; start one with palisade up or palisade edge", state)
	}
	if err != nil {
		return nil, fmt.Errorf("no gateway answers on %s: %w", state, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("what runs on %s is control, which reads no files while it runs; palisade apply gives it another model", state)
	}
	var out ReloadAnswer
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return &out, nil
}

// nobodyThere tells whether an error says that nobody listens on a socket.
func nobodyThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
