package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/model"
)

var errNoMesh = errors.New("the fleet that runs here has no mesh; declare one with mesh: {}")

// revocationRequest asks a running fleet to revoke or restore.
type revocationRequest struct {
	Target string `json:"target"` // service/payments, serial/1f3a, node/host-1
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// outcome is what a running fleet says to a command.
type outcome[T any] struct {
	Error string `json:"error,omitempty"`
	Value T      `json:"value,omitzero"`
}

// Revoke refuses a service, a serial number or a node from now on, and cuts its connections.
func Revoke(ctx context.Context, o *Options, target, reason string) (mesh.Cut, error) {
	return command[mesh.Cut](ctx, o, "/revoke", &revocationRequest{Target: target, Reason: reason, By: caller()})
}

// Restore undoes Revoke.
func Restore(ctx context.Context, o *Options, target string) error {
	_, err := command[mesh.Cut](ctx, o, "/restore", &revocationRequest{Target: target, By: caller()})
	return err
}

// Status tells how every proxy of a running fleet stands.
func Status(ctx context.Context, o *Options) ([]mesh.Status, error) {
	return command[[]mesh.Status](ctx, o, "/status", struct{}{})
}

// caller is who types the command, for the record; the socket's permissions decide who may.
func caller() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// ShowStatus prints proxies for people, or as JSON.
func (o *Options) ShowStatus(all []mesh.Status) error {
	if o.JSON {
		return writeJSON(o.Out, all)
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROXY\tSNAPSHOT\tSVID ENDS\tCONNECTIONS\tADDRESS\tPROBLEM")
	for _, s := range all {
		ends := "-"
		if !s.Expires.IsZero() {
			ends = "in " + time.Until(s.Expires).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", s.Proxy, short(s.Snapshot), ends, s.Connections, s.Address, s.Problem)
	}
	return w.Flush()
}

// identityCommands are what the control socket takes of a fleet with a mesh.
func (e *edge) identityCommands(mux *http.ServeMux) {
	mux.HandleFunc("POST /revoke", e.revocation(func(ctx context.Context, kind, value string, r *revocationRequest) (mesh.Cut, error) {
		return e.mesh.Revoke(ctx, kind, value, r.Reason, r.By)
	}))
	mux.HandleFunc("POST /restore", e.revocation(func(ctx context.Context, kind, value string, _ *revocationRequest) (mesh.Cut, error) {
		return mesh.Cut{}, e.mesh.Restore(ctx, kind, value)
	}))
	mux.HandleFunc("POST /status", func(w http.ResponseWriter, _ *http.Request) {
		if e.mesh == nil {
			answer(w, []mesh.Status(nil), errNoMesh)
			return
		}
		answer(w, e.mesh.Status(), nil)
	})
}

// revocation reads what is to be revoked or restored.
func (e *edge) revocation(do func(ctx context.Context, kind, value string, r *revocationRequest) (mesh.Cut, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		var r revocationRequest
		err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxCommand)).Decode(&r)
		if err == nil && e.mesh == nil {
			err = errNoMesh
		}
		var kind, value string
		if err == nil {
			kind, value, err = e.target(r.Target)
		}
		var cut mesh.Cut
		if err == nil {
			cut, err = do(req.Context(), kind, value, &r)
		}
		answer(w, cut, err)
	}
}

const maxCommand = 64 << 10 // bytes

// target reads service/<name>, serial/<hex> or node/<name>.
func (e *edge) target(text string) (kind, value string, err error) {
	kind, value, ok := strings.Cut(text, "/")
	if !ok || value == "" {
		return "", "", fmt.Errorf("%q is not service/<name>, serial/<hexadecimal> or node/<name>", text)
	}
	switch kind {
	case "service":
		e.mu.Lock()
		snap := e.gate.Snapshot
		e.mu.Unlock()
		if snap.ServiceByName(value) == nil {
			return "", "", fmt.Errorf("the model has no service %q", value)
		}
		return kind, model.ServiceID(snap.TrustDomain, value), nil
	case "serial", "node":
		return kind, value, nil
	}
	return "", "", fmt.Errorf("%q is not service/<name>, serial/<hexadecimal> or node/<name>", text)
}

// answer writes what came of a command.
func answer[T any](w http.ResponseWriter, value T, err error) {
	out := outcome[T]{Value: value}
	if err != nil {
		out.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // whoever asked is gone if this fails
}
