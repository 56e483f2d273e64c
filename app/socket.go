package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/model"
)

// ReloadAnswer is what a running gateway says to "palisade reload".
type ReloadAnswer struct {
	Version  string          `json:"version,omitempty"` // in force now
	Error    string          `json:"error,omitempty"`
	Findings []model.Finding `json:"findings,omitempty"`
}

// maxSocketPath is what sun_path holds on Linux, less the final zero.
const maxSocketPath = 107

func socketPath(state string) string { return filepath.Join(state, "control.sock") }

// serveControl takes commands on a Unix socket that only the gateway's own user can open. Without it, file
// changes and SIGHUP still reload.
func (e *edge) serveControl() {
	path := socketPath(e.state)
	if len(path) > maxSocketPath {
		slog.WarnContext(e.ctx, "no control socket: the state directory's path is too long; SIGHUP reloads", "path", path)
		return
	}
	_ = os.Remove(path) // the journal's lock says that no other gateway runs here
	var lc net.ListenConfig
	ln, err := lc.Listen(e.ctx, "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
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
	mux.HandleFunc("POST /snapshot", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		snap := e.gate.Snapshot
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(snap) // whoever asked is gone if this fails
	})
	e.identityCommands(mux)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
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
	var out ReloadAnswer
	if err := post(ctx, o, "/reload", nil, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// command asks the fleet that runs on the state directory for something.
func command[T any](ctx context.Context, o *Options, path string, in any) (T, error) {
	var out outcome[T]
	body, err := json.Marshal(in)
	if err == nil {
		err = post(ctx, o, path, body, &out)
	}
	if err == nil && out.Error != "" {
		err = errors.New(out.Error)
	}
	return out.Value, err
}

// post sends a command to the gateway that runs on the state directory, and reads the answer.
func post(ctx context.Context, o *Options, path string, body []byte, out any) error {
	state, err := o.state()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socketPath(state))
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no gateway runs on %s; start one with palisade up or palisade edge", state)
	}
	if err != nil {
		return fmt.Errorf("no gateway answers on %s: %w", state, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return nil
}
