package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// EventQuery says which events to show.
type EventQuery struct {
	Follow  bool
	Last    int // of those recorded already; 0: all
	Refused bool
	Service string
	User    string
	Kind    string // request, connection, act, log, or a kind of act; empty: all
	Since   time.Time
}

// The kinds of events beside those of acts.
const (
	kindRequest    = "request"
	kindConnection = "connection"
	kindAct        = "act"
	kindLog        = "log"
)

func (q *EventQuery) wants(e *event.Event) bool {
	return (!q.Refused || !e.Allowed || e.DryRun) && q.wantsKind(e) && (q.Service == "" || concernsService(e, q.Service)) &&
		(q.User == "" || e.User != nil && e.User.Subject == q.User || e.Act != nil && e.Act.Who == q.User) && !e.Time.Before(q.Since)
}

func (q *EventQuery) wantsKind(e *event.Event) bool {
	switch q.Kind {
	case "":
		return true
	case kindRequest:
		return e.Act == nil && e.Connection == nil && e.Log == nil
	case kindConnection:
		return e.Connection != nil
	case kindAct:
		return e.Act != nil
	case kindLog:
		return e.Log != nil
	}
	return e.Act != nil && string(e.Act.Kind) == q.Kind
}

// concernsService tells whether an event is of a service: who was asked, or who saw, did or suffered an act.
func concernsService(e *event.Event, name string) bool {
	if e.Act == nil {
		return e.Service == name
	}
	of := "service/" + name
	return e.Act.Proxy == name || e.Act.Object == of || strings.HasSuffix(e.Act.Who, "/"+of)
}

// check refuses a kind that no event has.
func (q *EventQuery) check() error {
	kinds := []string{kindRequest, kindConnection, kindAct, kindLog}
	for _, k := range event.Kinds() {
		kinds = append(kinds, string(k))
	}
	if q.Kind != "" && !slices.Contains(kinds, q.Kind) {
		return fmt.Errorf("there are no events of the kind %q; choose one of %s", q.Kind, strings.Join(kinds, ", "))
	}
	return nil
}

// elsewhereRecorded names state directories below the one of a record: each sidecar of a host has one of its own.
func elsewhereRecorded(dir string) string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", filepath.Base(dir)))
	if err != nil || len(found) == 0 {
		return "; name another with --state"
	}
	var names []string
	for _, one := range found[:min(len(found), 20)] {
		names = append(names, filepath.Base(filepath.Dir(one)))
	}
	return "; there are records of " + strings.Join(names, ", ") + ": name one, such as --state " + filepath.Dir(found[0])
}

// Events prints recorded events, oldest first, and new ones as they come if asked to follow.
func Events(ctx context.Context, o *Options, q *EventQuery) error {
	if err := q.check(); err != nil {
		return err
	}
	state, err := o.state()
	if err != nil {
		return err
	}
	_, snap, _, err := o.load(true)
	if err != nil {
		snap = nil // events can be read without a sound model
	}
	dir := recordsDir(o, state, snap)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no record in %s; palisade up, control, and each edge and sidecar begin one in their state directories%s", dir, elsewhereRecorded(dir))
	}
	var window [][]byte
	next := uint64(0)
	for rec, err := range journal.Read(dir, 0) {
		if err != nil {
			fmt.Fprintf(o.Err, "warning: %v\n", err)
			continue
		}
		next = rec.Seq + 1
		if e, err := event.Parse(rec.Data); err != nil || e.Open || !q.wants(e) {
			continue
		}
		window = append(window, []byte(string(rec.Data)))
		if q.Last > 0 && len(window) > q.Last {
			window = window[1:]
		}
	}
	for _, data := range window {
		if err := o.printEvent(o.Out, data); err != nil {
			return err
		}
	}
	if len(window) == 0 && !o.Quiet {
		what := "nothing is recorded yet"
		if next > 0 {
			what = "nothing of that kind is recorded"
		}
		fmt.Fprintf(o.Err, "%s in %s\n", what, dir)
	}
	if !q.Follow {
		return nil
	}
	for rec, err := range journal.Follow(ctx, dir, next) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintf(o.Err, "warning: %v\n", err)
			continue
		}
		if e, err := event.Parse(rec.Data); err == nil && !e.Open && q.wants(e) {
			if err := o.printEvent(o.Out, rec.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Options) printEvent(w io.Writer, data []byte) error {
	line := strings.TrimSpace(string(data))
	if !o.JSON {
		e, err := event.Parse(data)
		if err != nil {
			return fmt.Errorf("reading a record: %w", err)
		}
		line = observe.Line(e, o.style())
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}
