package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
	"github.com/palisade-security/palisade/store/table"
)

const (
	defaultWatch = 30 * time.Second
	maxWatch     = time.Hour
	answerTime   = 15 * time.Second // for proxies to take or reject a slice
	rolloutBlob  = "rollout"
)

// unfinishedRollout is kept while a model is on trial, so that the next leader can take it back.
type unfinishedRollout struct {
	Version string    `json:"version"`
	Author  string    `json:"author"`
	Since   time.Time `json:"since"`
	IDs     []string  `json:"ids"` // on trial
}

// Errors of apply.
var (
	errConflict = errors.New("conflict")
	errWrong    = errors.New("wrong")
)

// candidate is a model that may come into force.
type candidate struct {
	next, now *fleet // now is nil if none is in force
	document  []byte
	plan      plan.Plan
	who       caller
	note      string
	watch     time.Duration
	without   map[string]bool // SPIFFE IDs that are not believed
}

// heard tells whether a proxy has a say in a rollout. An identity is what is proven of it; instance and host it chooses itself.
func (l *leader) heard(a *candidate, e *entry, now time.Time) bool {
	return l.present(e, now) && !a.without[e.ID] && a.next.has(e.ID)
}

// apply puts a model in force: on one proxy of each kind first, then on all; or takes it back.
func (l *leader) apply(ctx context.Context, who caller, q admin.ApplyRequest) (admin.ApplyResult, error) {
	select {
	case l.applies <- struct{}{}:
		defer func() { <-l.applies }()
	default:
		return admin.ApplyResult{}, fmt.Errorf("%w: another model is being applied", errConflict)
	}
	a, err := l.candidate(ctx, who, q)
	if err != nil {
		return admin.ApplyResult{}, err
	}
	if a.now != nil && a.now.snap.Version == a.next.snap.Version {
		return admin.ApplyResult{Outcome: admin.Unchanged, Model: modelOf(a.now.Enforcement), Plan: a.plan}, nil
	}
	result := admin.ApplyResult{Plan: a.plan, Without: q.Without}
	if a.now != nil {
		result.Trials, err = l.try(ctx, a)
		if err != nil {
			return result, err
		}
		if i := slices.IndexFunc(result.Trials, func(t admin.Trial) bool { return t.Failed }); i >= 0 {
			result.Outcome, result.Model = admin.RolledBack, modelOf(a.now.Enforcement)
			result.Reason = result.Trials[i].Instance + " of " + result.Trials[i].ID + ": " + result.Trials[i].Verdict
			l.c.record(ctx, Event{Kind: "rolled-back", Who: who.name, Role: who.role, Object: a.next.snap.Version, Outcome: outcomeFailed, Text: result.Reason})
			return result, nil
		}
	}
	return l.rollOn(ctx, a, result)
}

// candidate reads and checks what is to be applied.
func (l *leader) candidate(ctx context.Context, who caller, q admin.ApplyRequest) (*candidate, error) {
	a := &candidate{now: l.c.fleet.Load(), who: who, note: q.Note, watch: q.Watch.Std()}
	if a.watch == 0 {
		a.watch = defaultWatch
	}
	var before *model.Snapshot
	version := ""
	if a.now != nil {
		before, version = a.now.snap, a.now.snap.Version
	}
	switch {
	case a.watch < 0 || a.watch > maxWatch:
		return nil, fmt.Errorf("%w: watch is from 0 to %s", errWrong, maxWatch)
	case q.Before != version:
		return nil, fmt.Errorf("%w: the plan was made against %q, but %q is in force", errConflict, q.Before, version)
	case (q.Model == nil) == (q.Version == ""):
		return nil, fmt.Errorf("%w: a model or a version is needed", errWrong)
	}
	var stored table.Model
	var err error
	if q.Model == nil {
		if stored, err = l.c.stored(ctx, q.Version); err != nil {
			return nil, err
		}
	}
	snap, err := l.c.wanted(ctx, q.Model, &stored)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWrong, err)
	}
	if a.document, err = json.Marshal(snap); err != nil {
		return nil, fmt.Errorf("writing the model: %w", err)
	}
	if a.next, err = newFleet(table.Enforcement{Version: snap.Version}, snap); err != nil {
		return nil, fmt.Errorf("%w: %w", errWrong, err)
	}
	if a.without, err = a.next.proxies(q.Without); err != nil {
		return nil, fmt.Errorf("%w: without: %w", errWrong, err)
	}
	a.plan = plan.Diff(before, snap)
	return a, nil
}

// wanted is the model that a request brings, or else names, if proxies would take it.
func (c *Control) wanted(ctx context.Context, document []byte, stored *table.Model) (snap *model.Snapshot, err error) {
	if document != nil {
		snap, err = c.offered(document)
	} else {
		snap, err = c.again(stored)
	}
	switch {
	case err != nil:
		return nil, err
	case snap.Development:
		return nil, model.ErrDevelopment
	case c.o.Check != nil:
		return snap, c.o.Check(ctx, snap)
	}
	return snap, nil
}

// stored reads a model of the history.
func (c *Control) stored(ctx context.Context, version string) (m table.Model, err error) {
	err = c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		m, err = t.Model(ctx, version)
		return err
	})
	if errors.Is(err, table.ErrNotFound) {
		err = fmt.Errorf("%w: there is no model %q", errWrong, version)
	}
	return m, err
}

// try puts a model on one proxy of each kind and watches how it fares. What fails is taken back.
func (l *leader) try(ctx context.Context, a *candidate) ([]admin.Trial, error) {
	chosen := l.choose(a)
	if len(chosen) == 0 {
		return nil, nil
	}
	chosen, callers := l.withCallees(a, chosen)
	r := unfinishedRollout{Version: a.next.snap.Version, Author: a.who.name, Since: time.Now()}
	shown := &admin.Rollout{Version: r.Version, Author: r.Author, Since: r.Since}
	again := map[string]bool{}
	for _, e := range slices.Concat(chosen, callers) {
		if !again[e.ID] {
			r.IDs = append(r.IDs, e.ID)
		}
		again[e.ID] = true
		shown.Trials = append(shown.Trials, e.Report.Instance)
	}
	l.rollout.Store(shown)
	defer l.rollout.Store(nil)
	if err := l.noteRollout(ctx, &r); err != nil {
		return nil, err
	}
	l.setTrying(&tried{a.next, again})
	defer l.setTrying(nil)
	trials, err := l.watch(ctx, a, chosen, callers)
	if err == nil && !slices.ContainsFunc(trials, func(t admin.Trial) bool { return t.Failed }) {
		return trials, nil // rollOn clears the note in the transaction that puts the model in force
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	err = errors.Join(err, l.pub.slices(back, a.now, again), l.noteRollout(back, nil))
	l.setTrying(nil)
	return trials, errors.Join(err, l.sayPlaces(back))
}

// present tells whether a proxy is surely there: this leader itself has heard of it, and just now. One that has died without
// a goodbye would fail every trial.
func (l *leader) present(e *entry, now time.Time) bool {
	return !e.Report.Leaving && e.Seen.After(l.since) && now.Sub(e.Seen) < 2*reportEvery
}

// choose picks the proxies that try a model: of each kind the one that does most of those that it changes anything
// for, for there an error shows first.
func (l *leader) choose(a *candidate) []*entry {
	now := time.Now()
	present := slices.DeleteFunc(l.c.desk.entries(), func(e *entry) bool {
		return !l.heard(a, e, now) || !a.now.has(e.ID)
	})
	slices.SortFunc(present, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.Report.Traffic.Requests, a.Report.Traffic.Requests), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Report.Instance, b.Report.Instance))
	})
	var out []*entry
	chosen := map[string]bool{}
	for _, e := range present {
		if kind := a.next.kind(e.ID); !chosen[kind] && a.now.version(e.ID) != a.next.version(e.ID) {
			chosen[kind] = true
			out = append(out, e)
		}
	}
	return out
}

// withCallees adds who is called by those that are chosen, where the model declares that call anew: it passes only where both ends have the model.
// Each instance of a callee tries it, and before its callers do, who come second.
func (l *leader) withCallees(a *candidate, chosen []*entry) (first, callers []*entry) {
	now := time.Now()
	called := map[string]bool{}
	for _, e := range chosen {
		for _, name := range a.next.calls[e.ID] {
			if id := model.ServiceID(a.next.snap.TrustDomain, name); !slices.Contains(a.now.calls[e.ID], name) && a.now.version(id) != a.next.version(id) {
				called[id] = true
			}
		}
	}
	for id := range called {
		for _, e := range l.c.desk.of(id) {
			if l.heard(a, e, now) {
				first = append(first, e)
			}
		}
	}
	slices.SortFunc(first, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Report.Instance, b.Report.Instance))
	})
	for _, e := range chosen {
		switch {
		case !called[e.ID]:
			callers = append(callers, e)
		case !slices.ContainsFunc(first, func(o *entry) bool { return o.ID == e.ID && o.Report.Instance == e.Report.Instance }):
			first = append(first, e)
		}
	}
	return first, callers
}

// watch tells the first to try, and when they have taken the model those that call them; and judges all when the time is over, or as soon as one fails.
func (l *leader) watch(ctx context.Context, a *candidate, first, callers []*entry) ([]admin.Trial, error) {
	w := &watched{l: l, a: a, narrows: slices.ContainsFunc(a.plan.Changes, func(c plan.Change) bool { return c.Kind == plan.Narrows })}
	for i, some := range [][]*entry{first, callers} {
		if len(some) == 0 {
			continue
		}
		if err := l.sayPlaces(ctx); err != nil {
			return nil, err
		}
		if err := w.begin(ctx, some); err != nil {
			return nil, err
		}
		if trials, err := w.until(ctx, i == 0 && len(callers) > 0); err != nil || slices.ContainsFunc(trials, func(t admin.Trial) bool { return t.Failed }) {
			return trials, err
		}
	}
	return w.trials, nil
}

// watched are the proxies that try a model.
type watched struct {
	l       *leader
	a       *candidate
	narrows bool
	all     []*trialWatch
	trials  []admin.Trial // as they were seen last
}

// begin tells some proxies to try.
func (w *watched) begin(ctx context.Context, some []*entry) error {
	instances := map[string][]string{}
	for _, e := range some {
		instances[e.ID] = append(instances[e.ID], e.Report.Instance)
	}
	for _, id := range slices.Sorted(maps.Keys(instances)) {
		if err := w.l.pub.trial(ctx, w.a.next, id, instances[id]); err != nil {
			return err
		}
	}
	for _, e := range some {
		w.all = append(w.all, &trialWatch{
			before: e, version: w.a.next.version(e.ID), order: w.l.pub.at(wire.TrialKey(e.ID)).order,
			narrows: w.narrows, begun: time.Now(), watch: w.a.watch,
		})
	}
	return nil
}

// until judges those that try, until each has taken the model, or each verdict is final; or one has failed.
func (w *watched) until(ctx context.Context, taken bool) ([]admin.Trial, error) {
	for {
		news := w.l.c.desk.news.wait()
		now, running, failed := time.Now(), false, false
		w.trials = make([]admin.Trial, len(w.all))
		for i, t := range w.all {
			verdict := t.look(w.l.c.desk.get(t.before.ID, t.before.Report.Instance), now)
			w.trials[i] = t.trial(verdict)
			running, failed = running || verdict.open && (!taken || t.base == nil), failed || verdict.failed
		}
		if failed || !running {
			return w.trials, nil
		}
		tick := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil, context.Cause(ctx)
		case <-news:
			tick.Stop()
		case <-tick.C:
		}
	}
}

// noteRollout writes what is on trial into the store; nil: nothing.
func (l *leader) noteRollout(ctx context.Context, r *unfinishedRollout) error {
	return l.write(ctx, func(t *table.Tx) error { return saveRollout(ctx, t, r) })
}

func saveRollout(ctx context.Context, t *table.Tx, r *unfinishedRollout) error {
	old, revision, err := t.Blob(ctx, rolloutBlob)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return err
	}
	var data []byte
	if r != nil {
		if data, err = json.Marshal(r); err != nil {
			return err
		}
	} else if len(old) == 0 {
		return nil
	}
	return t.SaveBlob(ctx, rolloutBlob, data, revision)
}

// unfinished returns the identities on which the leader before had a model on trial, and takes that back.
func (l *leader) unfinished(ctx context.Context, f *fleet) (map[string]bool, error) {
	var data []byte
	err := l.c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		data, _, err = t.Blob(ctx, rolloutBlob)
		return err
	})
	if errors.Is(err, table.ErrNotFound) || err == nil && len(data) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r unfinishedRollout
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading the rollout that was under way: %w", err)
	}
	again := map[string]bool{}
	for _, id := range r.IDs {
		again[id] = true
	}
	l.c.record(ctx, Event{
		Kind: "rolled-back", Who: r.Author, Object: r.Version, Outcome: outcomeFailed,
		Text: "the control that tried it is gone; " + f.Version + " stays in force",
	})
	return again, l.noteRollout(ctx, nil)
}

// rollOn puts a model in force on all proxies. If some reject it, the one before comes back: a fleet that runs two models
// is nobody's plan.
func (l *leader) rollOn(ctx context.Context, a *candidate, result admin.ApplyResult) (admin.ApplyResult, error) {
	if err := l.enforce(ctx, a.next, a.document, a.who, a.note); err != nil {
		return result, err
	}
	asked := l.asked(a, time.Now())
	if err := l.pub.slices(ctx, l.c.fleet.Load(), nil); err != nil {
		return result, err
	}
	result.Outcome, result.Model = admin.Applied, modelOf(l.c.fleet.Load().Enforcement)
	rejected, err := l.confirmed(ctx, a.next, asked)
	if err != nil || rejected == "" || a.now == nil {
		result.Reason = rejected
		return result, err
	}
	document, err := json.Marshal(a.now.snap)
	if err != nil {
		return result, fmt.Errorf("writing the model before: %w", err)
	}
	note := "rolled back: " + rejected
	if err := l.enforce(ctx, a.now, document, a.who, note[:min(len(note), 512)]); err != nil {
		return result, err
	}
	l.c.record(ctx, Event{Kind: "rolled-back", Who: a.who.name, Role: a.who.role, Object: a.next.snap.Version, Outcome: outcomeFailed, Text: rejected})
	result.Outcome, result.Reason, result.Model = admin.RolledBack, rejected, modelOf(l.c.fleet.Load().Enforcement)
	return result, l.pub.slices(ctx, l.c.fleet.Load(), nil)
}

// enforce writes that a model is in force.
func (l *leader) enforce(ctx context.Context, f *fleet, document []byte, who caller, note string) error {
	number := int64(0)
	if now := l.c.fleet.Load(); now != nil {
		number = now.Number
	}
	now := time.Now()
	var e table.Enforcement
	err := l.write(ctx, func(t *table.Tx) error {
		stored, err := t.Model(ctx, f.snap.Version)
		switch {
		case errors.Is(err, table.ErrNotFound):
			err = t.AddModel(ctx, table.Model{Version: f.snap.Version, Document: document, Added: now, Author: who.name})
		case err == nil && digest(stored.Document) != digest(document):
			document = stored.Document // the same content, written in another way
		}
		if err != nil {
			return err
		}
		if e, err = t.Enforce(ctx, table.Enforcement{Version: f.snap.Version, Since: now, Author: who.name, Note: note}, number); err != nil {
			return err
		}
		return saveRollout(ctx, t, nil)
	})
	if err != nil {
		return err
	}
	next := *f
	next.Enforcement = e
	l.c.fleet.Store(&next)
	l.c.news.wake()
	return nil
}

// asked returns what the instances that must confirm a model have said before.
func (l *leader) asked(a *candidate, now time.Time) []*entry {
	return slices.DeleteFunc(l.c.desk.entries(), func(e *entry) bool { return !l.heard(a, e, now) })
}

// confirmed waits until all have taken what they were given. It returns who rejected it, and why.
func (l *leader) confirmed(ctx context.Context, next *fleet, asked []*entry) (rejected string, err error) {
	deadline := time.NewTimer(answerTime)
	defer deadline.Stop()
	for {
		news := l.c.desk.news.wait()
		open := asked[:0]
		for _, e := range asked {
			now := l.c.desk.get(e.ID, e.Report.Instance)
			switch {
			case now == nil || now.Report.Leaving || now.Report.Accepted && now.Report.Version == next.version(e.ID):
			case !now.Report.Accepted && now.Report.Order.After(e.Report.Order):
				return e.Report.Instance + " of " + e.ID + " rejects it: " + now.Report.Reason, nil
			default:
				open = append(open, e)
			}
		}
		if asked = open; len(asked) == 0 {
			return "", nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-deadline.C:
			return "", nil // who is silent takes it when it is back
		case <-news:
			l.rest(ctx, glance, nil)
		}
	}
}

func modelOf(e table.Enforcement) admin.Model {
	return admin.Model{Number: e.Number, Version: e.Version, Since: e.Since, Author: e.Author, Note: e.Note}
}
