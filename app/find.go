package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/app/person"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// finder is where events are asked for.
type finder struct {
	admin.Events
	where   string           // for people
	journal *archive.Journal // nil: a store answers
	close   func()
}

// find opens what has the events that are meant: control on another host, what runs on the state directory, the store that it left
// there, or the record of one proxy. The caller closes it. Of the snapshot the place of the record is wanted; nil: none is known.
func (o *Options) find(ctx context.Context, snap *model.Snapshot) (*finder, error) {
	if o.Reach.Control != "" {
		c, err := o.remote()
		if err != nil {
			return nil, err
		}
		return &finder{Events: c, where: o.Reach.Control, close: c.Close}, nil
	}
	state, err := o.state()
	if err != nil {
		return nil, err
	}
	dir := recordsDir(o, state, snap)
	if o.Audit == "" { // else a record is named
		if f, err := o.asking(ctx, state); f != nil || err != nil {
			return f, err
		}
		if f, err := o.reopened(ctx, state, dir); f != nil || err != nil {
			return f, err
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no record in %s; palisade up, control, and each edge and sidecar begin one in their state directories%s", dir, elsewhereRecorded(dir))
	}
	return o.record(dir), nil
}

// record is the journal in a folder.
func (o *Options) record(dir string) *finder {
	j := &archive.Journal{Dir: dir, Warn: func(err error) { fmt.Fprintf(o.Err, "warning: %v\n", err) }}
	return &finder{Events: j, where: dir, journal: j, close: func() {}}
}

const (
	openingTime = 15 * time.Second // that a store of events takes to open
	openingPoll = 100 * time.Millisecond
)

// asking returns what runs on a state directory, if it keeps events. Nil: nothing runs there, or keeps none.
func (o *Options) asking(ctx context.Context, state string) (*finder, error) {
	c := admin.Local(socketPath(state))
	give := time.Now().Add(openingTime)
	for {
		_, err := c.Last(ctx, query.Query{}, 1, query.Cursor{})
		if err == nil {
			return &finder{Events: c, where: state, close: c.Close}, nil
		}
		problem, told := errors.AsType[*admin.Problem](err)
		if told && problem.Status == http.StatusServiceUnavailable && time.Now().Before(give) {
			select {
			case <-time.After(openingPoll):
				continue
			case <-ctx.Done():
			}
		}
		c.Close()
		if nobodyThere(err) || told && problem.Status == http.StatusNotFound {
			return nil, nil // that nothing runs there is no error
		}
		if told && problem.Status == http.StatusForbidden && problem.Detail == "" {
			problem.Detail = "only root and the user of what runs there may ask it"
		}
		return nil, o.asked(err)
	}
}

// reopened opens the store that a process left in a state directory, and brings what its record holds into it. Nil: it left none,
// or another process has it open.
func (o *Options) reopened(ctx context.Context, state, records string) (*finder, error) {
	if !hasArchive(state) {
		return nil, nil
	}
	b, err := recalledBucket(state)
	if err != nil {
		return nil, err
	}
	s, err := openStore(ctx, events.Options{Dir: archiveDir(state), Bucket: b})
	if errors.Is(err, journal.ErrLocked) || errors.Is(err, fs.ErrPermission) {
		fmt.Fprintf(o.Err, "warning: the store of events in %s cannot be opened; what follows is from the record alone: %v\n", state, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &finder{Events: s, where: state}
	persons, end, err := knownPersons(ctx, state)
	if err != nil { // what the record still holds would be kept with names, so it stays where it is
		fmt.Fprintf(o.Err, "warning: %v\n", err)
		f.close = o.closing(s.Close)
		return f, nil
	}
	f.close = o.closing(s.Close, end)
	lost := func(_ context.Context, n uint64, why string) {
		fmt.Fprintf(o.Err, "warning: %d events are lost: %s\n", n, why)
	}
	into := archive.Holding(s, lost)
	if persons != nil {
		into.Hide(persons.Hide)
		f.Events = person.View{Of: s, Book: persons}
	}
	if err := followed(state, records, into, lost).CatchUp(ctx); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// closing closes all, and warns of what cannot be.
func (o *Options) closing(all ...func() error) func() {
	return func() {
		for _, one := range all {
			if err := one(); err != nil {
				fmt.Fprintf(o.Err, "warning: %v\n", err)
			}
		}
	}
}

// folder is a finder for a folder that people name: a state directory, or a folder of records.
func (o *Options) folder(ctx context.Context, dir string) (*finder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding events: %w", err)
	}
	of := *o
	of.State, of.Audit, of.Reach = abs, "", Reach{}
	inside := filepath.Join(abs, "events")
	if _, err := os.Stat(socketPath(abs)); err != nil && !hasArchive(abs) && !isDir(inside) {
		if !isDir(abs) {
			return nil, fmt.Errorf("no record in %s yet; palisade up or palisade edge begins one", dir)
		}
		return o.record(abs), nil
	}
	return of.find(ctx, nil)
}

const pageSize = 1000 // events that are held at once while all are looked at

// each hands out all events that are meant, newest first.
func each(ctx context.Context, from admin.Events, q query.Query, yield func(*event.Event) error) error {
	if j, ok := from.(*archive.Journal); ok { // which reads all of it for each page
		return j.Each(ctx, q, yield)
	}
	for at := (query.Cursor{}); ; {
		page, err := from.Last(ctx, q, pageSize, at)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := yield(e); err != nil {
				return err
			}
		}
		if at = page.Next; at.IsZero() {
			return nil
		}
	}
}
