package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/internal/local"
	"github.com/palisade-security/palisade/model"
)

// A fleet that runs under "palisade up" answers administrators as control does, as far as it is its own control.

const maxCommand = 64 << 10 // bytes

// errFed refuses what control alone can do.
var errFed = &admin.Problem{Status: http.StatusConflict, Title: "no control", Detail: "what runs here obeys a control elsewhere: ask that one, with --control or where it runs"}

// errNoMesh refuses what only a mesh can do.
var errNoMesh = &admin.Problem{Status: http.StatusConflict, Title: "no mesh", Detail: "the fleet that runs here gives its services no identities; declare mesh: {}"}

// administrators mounts what administrators ask of a running fleet.
func (e *edge) administrators(mux *http.ServeMux) {
	mount := func(pattern string, do func(ctx context.Context, who string, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			who, err := local.Caller(r.Context())
			if err != nil {
				answerAdmin(w, nil, &admin.Problem{Status: http.StatusForbidden, Title: http.StatusText(http.StatusForbidden), Detail: err.Error()})
				return
			}
			out, err := do(r.Context(), who, r)
			answerAdmin(w, out, err)
		})
	}
	mount("GET "+wire.BundlePath, func(ctx context.Context, _ string, _ *http.Request) (any, error) { return e.bundle(ctx) })
	mount("GET "+admin.StatusPath, func(context.Context, string, *http.Request) (any, error) { return e.status(time.Now()), nil })
	mount("GET "+admin.ModelPath, func(context.Context, string, *http.Request) (any, error) { return e.serving(), nil })
	mount("POST "+admin.RevokePath, e.relist(event.KindRevoked, func(ctx context.Context, who string, q admin.RevokeRequest) (admin.RevokeResult, error) {
		if err := q.Check(e.serving()); err != nil {
			return admin.RevokeResult{}, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: err.Error()}
		}
		cut, err := e.mesh.Revoke(ctx, q.Kind, q.Value, q.Reason, who)
		out := admin.RevokeResult{Took: model.Duration(cut.Took), Confirmed: len(e.mesh.Status()), Cut: uint64(cut.Connections)}
		return out, err
	}))
	mount("POST "+admin.RestorePath, e.relist(event.KindRestored, func(ctx context.Context, _ string, q admin.RevokeRequest) (admin.RevokeResult, error) {
		err := e.mesh.Restore(ctx, q.Kind, q.Value)
		if errors.Is(err, authority.ErrNotRevoked) {
			err = &admin.Problem{Status: http.StatusConflict, Title: http.StatusText(http.StatusConflict), Detail: err.Error()}
		}
		return admin.RevokeResult{Confirmed: len(e.mesh.Status()), Own: true}, err
	}))
	if e.memory != nil {
		mount("GET "+admin.EventsPath, func(ctx context.Context, _ string, r *http.Request) (any, error) {
			return admin.AnswerEvents(ctx, e.memory, r.URL.Query())
		})
		mount("GET "+admin.MapPath, func(ctx context.Context, _ string, r *http.Request) (any, error) {
			return admin.AnswerMap(ctx, e.memory.book, r.URL.Query())
		})
		mount("GET "+admin.CountsPath, func(ctx context.Context, _ string, r *http.Request) (any, error) {
			return admin.AnswerCounts(ctx, e.memory, r.URL.Query())
		})
		e.mountHolds(mount)
		e.mountErase(mount)
	}
	mount("POST "+admin.ConsolePath, func(_ context.Context, who string, r *http.Request) (any, error) {
		var q admin.ConsoleRequest
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxCommand)).Decode(&q); err != nil {
			return nil, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: "the request cannot be read"}
		}
		return e.console.give(who, q.Role)
	})
	mount("/v1/admin/", func(context.Context, string, *http.Request) (any, error) {
		return nil, &admin.Problem{
			Status: http.StatusNotFound, Title: "no control",
			Detail: "what runs here reads its model from its files: change those, and it does so at once, or with palisade reload; models are applied, and proxies joined, where palisade control runs",
		}
	})
}

// bundle is the trust bundle of the fleet, as control hands it out.
func (e *edge) bundle(ctx context.Context) (json.RawMessage, error) {
	switch {
	case e.remote != nil:
		return nil, errFed
	case e.mesh == nil:
		return nil, errNoMesh
	}
	b, err := e.mesh.Bundle(ctx)
	if err != nil {
		return nil, err
	}
	return b.Marshal()
}

// serving is the model in force.
func (e *edge) serving() *model.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gate.Snapshot
}

// relist reads what is to be revoked or restored, has it done and records it.
func (e *edge) relist(kind event.Kind, do func(context.Context, string, admin.RevokeRequest) (admin.RevokeResult, error)) func(context.Context, string, *http.Request) (any, error) {
	return func(ctx context.Context, who string, r *http.Request) (any, error) {
		var q admin.RevokeRequest
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxCommand)).Decode(&q); err != nil {
			return nil, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: "the request cannot be read"}
		}
		switch {
		case e.serving().Self != "":
			return nil, errFed
		case e.mesh == nil:
			return nil, errNoMesh
		}
		out, err := do(context.WithoutCancel(ctx), who, q)
		act := &event.Act{Kind: kind, Who: who, Role: string(admin.Admin), Object: q.String(), Outcome: event.Done, Text: q.Reason, Proxy: "control"}
		if err != nil {
			act.Outcome, act.Text = event.Failed, err.Error()
		}
		e.recorder.Act(ctx, &event.Event{Act: act})
		return out, err
	}
}

// status says how the fleet of this process stands.
func (e *edge) status(now time.Time) admin.Status {
	snap := e.serving()
	out := admin.Status{
		Fleet: snap.Fleet, TrustDomain: snap.TrustDomain, Time: now, Control: "this host", Leads: true,
		InForce: admin.Model{Version: snap.Version},
	}
	front := admin.Proxy{ID: model.EdgeID(snap.TrustDomain), Version: snap.Version, Current: true, Seen: now, Connections: e.connections()}
	if e.mesh == nil {
		out.Proxies = []admin.Proxy{front}
		return out
	}
	life := snap.Mesh.SVID.Lifetime.Std()
	for _, s := range e.mesh.Status() {
		p := admin.Proxy{ID: s.ID, Version: s.Snapshot, Current: s.Snapshot == snap.Version, Seen: now, Connections: s.Connections}
		if s.ID == front.ID {
			p = front
		}
		p.Expires, p.Problem = s.Expires, s.Problem
		if !s.Expires.IsZero() {
			p.Begins = s.Expires.Add(-life)
		}
		if s.Address != "" {
			p.Addresses = []string{s.Address}
		}
		out.Proxies = append(out.Proxies, p)
	}
	slices.SortFunc(out.Proxies, func(a, b admin.Proxy) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// connections is how many clients the edge has.
func (e *edge) connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, l := range e.listeners {
		for _, s := range l.servers {
			n += s.Connections()
		}
	}
	return n
}

// answerAdmin writes what came of a request of an administrator.
func answerAdmin(w http.ResponseWriter, out any, err error) {
	status, kind := http.StatusOK, "application/json"
	if err != nil {
		p, told := errors.AsType[*admin.Problem](err)
		if errors.Is(err, archive.ErrOpening) {
			p, told = &admin.Problem{Status: http.StatusServiceUnavailable, Title: http.StatusText(http.StatusServiceUnavailable), Detail: err.Error()}, true
		}
		if !told {
			p = &admin.Problem{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError), Detail: err.Error()}
		}
		out, status, kind = p, p.Status, "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // whoever asked is gone if this fails
}
