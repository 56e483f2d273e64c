package atlas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/topology"
)

// Source is a store whose records have numbers: store/events or store/shared.
type Source interface {
	Next(ctx context.Context) (uint64, error)
	Await(ctx context.Context, number uint64) error
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
}

// Keeper keeps the map of what a store holds.
type Keeper struct {
	// Shelf takes the right to write. An error that wraps ErrStandby is none: it is asked again.
	Shelf func(context.Context) (Shelf, error)
	Keep  time.Duration // how long; 0: for ever
	// Model returns what is in force, nil before that is known, and what is declared beside it, if that is at hand.
	Model func() (*model.Snapshot, *model.Fleet)
	// Open returns the store once it is open. The keeper asks again when that one is closed.
	Open func(context.Context) (Source, error)
	Log  *slog.Logger

	files    Shelf
	reigns   []reign
	snap     string // version of the model of the last reign
	fleet    *model.Fleet
	declared *topology.Map
	earlier  map[string]*topology.Map // what was declared before, by name; a few
	next     uint64                   // number of the first event that was not looked at
	open     map[time.Time]*page      // by where they begin
	days     map[time.Time]bool       // that are kept as a whole
	tidied   time.Time                // when days were last put together
}

// page is an hour, or a day that is kept as a whole, to which events are added.
type page struct {
	stretch
	fold  *topology.Fold
	next  uint64 // as kept.Next
	dirty bool
}

const (
	flushEvery = 10 * time.Second // that what was seen is written
	mostPages  = 6                // that are open at once
	mostAtOnce = 64 << 10         // events between two looks at what else is due
	hoursKept  = 35 * day         // after which days are kept as a whole
	tidyEvery  = time.Hour
	retryAfter = 5 * time.Second
)

// Run keeps the map until ctx ends. What fails is tried again.
func (k *Keeper) Run(ctx context.Context) error {
	for last := ""; ; {
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is what ended this
		}
		why := err.Error()
		switch {
		case why == last:
		case errors.Is(err, ErrStandby):
			k.Log.InfoContext(ctx, "another control keeps the maps; this one stands by")
		default:
			k.Log.ErrorContext(ctx, "the map is not kept", "error", err, "again_in", retryAfter)
		}
		last = why
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// follow adds what the store has and gets, until it is closed or something is wrong.
func (k *Keeper) follow(ctx context.Context) (err error) {
	source, err := k.Open(ctx)
	if err != nil {
		return err
	}
	if k.files, err = k.Shelf(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.files.Close()) }()
	if err := k.begin(ctx, source); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.flush()) }()
	for {
		if err := k.note(time.Now()); err != nil {
			return err
		}
		more, err := k.read(ctx, source)
		if err != nil {
			return err
		}
		if err := k.flush(); err != nil {
			return err
		}
		if err := k.tidy(time.Now()); err != nil {
			return err
		}
		if err := wait(ctx, source, k.next, more); err != nil {
			return err
		}
	}
}

// wait returns when there may be something to do: not before what was written last is old enough, unless there is more to read.
func wait(ctx context.Context, source Source, next uint64, more bool) error {
	if more {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(flushEvery):
	}
	idle, cancel := context.WithTimeout(ctx, flushEvery) // then the model is looked at
	defer cancel()
	if err := source.Await(idle, next); err != nil && idle.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// begin finds out how far the map is.
func (k *Keeper) begin(ctx context.Context, source Source) (err error) {
	if k.reigns, err = readReigns(k.files); err != nil {
		return err
	}
	k.snap, k.fleet, k.declared, k.earlier = "", nil, nil, map[string]*topology.Map{}
	k.open, k.days = map[time.Time]*page{}, map[time.Time]bool{}
	all, hidden, err := stretches(k.files)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.long == day {
			k.days[s.from] = true
		}
	}
	for _, s := range hidden {
		if err := k.files.Remove(s.name()); err != nil {
			return fmt.Errorf("keeping the map: %w", err)
		}
	}
	var at struct {
		Next uint64 `json:"next"`
	}
	data, err := fs.ReadFile(k.files, positionFile)
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading how far the map is: %w", err)
	}
	k.next = max(at.Next, 1)
	end, err := source.Next(ctx)
	if err != nil {
		return err
	}
	if end < k.next {
		return k.anew(ctx, all, end)
	}
	return nil
}

// anew goes on behind a store that has begun anew, or lost its last events. What is kept stays.
func (k *Keeper) anew(ctx context.Context, all []stretch, end uint64) error {
	k.Log.WarnContext(ctx, "the store of events has fewer events than the map: the map goes on with those that come", "map", k.next-1, "store", end-1)
	for _, s := range all {
		one, err := k.keptOf(s)
		if err != nil {
			return err
		}
		one.Next = 0
		if err := writePacked(k.files, s.name(), one); err != nil {
			return err
		}
	}
	k.next = end
	return k.position()
}

// note keeps what is declared, if that has changed.
func (k *Keeper) note(now time.Time) error {
	snap, fleet := k.Model()
	if snap == nil || snap.Version == k.snap && fleet == k.fleet {
		return nil
	}
	m := Declared(snap, fleet)
	name, err := writeDeclared(k.files, m)
	if err != nil {
		return err
	}
	if n := len(k.reigns); n == 0 || k.reigns[n-1].Map != name {
		k.reigns = append(k.reigns, reign{now.UTC(), snap.Version, name})
		if err := writeJSON(k.files, reignsFile, k.reigns); err != nil {
			return err
		}
		if err := k.flush(); err != nil { // what comes is folded into the new one
			return err
		}
		clear(k.open)
	}
	k.snap, k.fleet, k.declared = snap.Version, fleet, m
	return nil
}

// read folds in what the store has now, up to mostAtOnce, and tells whether there is more.
func (k *Keeper) read(ctx context.Context, source Source) (more bool, err error) {
	if len(k.reigns) == 0 { // nobody knows yet what services there are
		return false, nil
	}
	n := 0
	for r, err := range source.Records(ctx, k.next) {
		if err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			k.Log.WarnContext(ctx, "events that cannot be read are not in the map", "error", err)
			continue
		}
		if n++; n > mostAtOnce {
			return true, nil
		}
		e, err := r.Event()
		if err != nil {
			k.Log.WarnContext(ctx, "an event that cannot be read is not in the map", "error", err)
			continue
		}
		if err := k.add(r.Number, e); err != nil {
			return false, err
		}
		k.next = r.Number + 1 // not before: what add writes says how far the map is
	}
	return false, nil
}

// add folds one event into its hour.
func (k *Keeper) add(number uint64, e *event.Event) error {
	if e.Open || k.Keep > 0 && time.Since(e.Time) > k.Keep {
		return nil
	}
	p, err := k.page(e.Time.UTC())
	if err != nil || number < p.next {
		return err
	}
	p.fold.Event(e)
	p.dirty = true
	return nil
}

// page opens the hour of a time, or the day if that is kept as a whole.
func (k *Keeper) page(at time.Time) (*page, error) {
	s := stretch{at.Truncate(time.Hour), time.Hour}
	if whole := at.Truncate(day); k.days[whole] {
		s = stretch{whole, day}
	}
	if p := k.open[s.from]; p != nil {
		return p, nil
	}
	if len(k.open) >= mostPages {
		if err := k.flush(); err != nil {
			return nil, err
		}
		clear(k.open)
	}
	base, err := k.base(s.until())
	if err != nil {
		return nil, err
	}
	p := &page{stretch: s, fold: topology.NewFold(base)}
	one, err := k.keptOf(s)
	if err != nil {
		return nil, err
	}
	p.next = one.Next
	p.fold.Add(one.Part)
	k.open[s.from] = p
	return p, nil
}

// keptOf reads what is kept of a stretch; nothing if there is none. What cannot be read is set aside, so that what comes is kept.
func (k *Keeper) keptOf(s stretch) (*kept, error) {
	one, err := readKept(k.files, s)
	switch {
	case err == nil:
		return one, nil
	case !errors.Is(err, fs.ErrNotExist):
		k.Log.Error("a part of the map is damaged, and set aside", "error", err)
		data, err := fs.ReadFile(k.files, s.name())
		if err == nil {
			err = k.files.Write(s.name()+".damaged", data)
		}
		if err == nil {
			err = k.files.Remove(s.name())
		}
		if err != nil {
			return nil, fmt.Errorf("setting a part of the map aside: %w", err)
		}
	}
	return &kept{Part: &topology.Part{Format: topology.Format}}, nil
}

// base is what was declared at a time.
func (k *Keeper) base(at time.Time) (*topology.Map, error) {
	r := under(k.reigns, at)
	if k.declared != nil && r == k.reigns[len(k.reigns)-1] {
		return k.declared, nil
	}
	if m := k.earlier[r.Map]; m != nil {
		return m, nil
	}
	m, err := readDeclared(k.files, r)
	if err != nil {
		return nil, err
	}
	if len(k.earlier) >= 4 {
		clear(k.earlier)
	}
	k.earlier[r.Map] = m
	return m, nil
}

// flush writes what has changed, and then how far the map is: an event is in it once, whatever is cut off when.
func (k *Keeper) flush() error {
	wrote := false
	for _, p := range k.open {
		if !p.dirty {
			continue
		}
		if err := writePacked(k.files, p.name(), &kept{k.next, p.fold.Part()}); err != nil {
			return err
		}
		p.next, p.dirty, wrote = k.next, false, true
	}
	if !wrote {
		return nil
	}
	return k.position()
}

func (k *Keeper) position() error {
	return writeJSON(k.files, positionFile, map[string]uint64{"next": k.next})
}
