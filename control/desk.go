package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/store/table"
)

// The times of reports. A proxy reports every few seconds; who is silent for longer is away.
const (
	reportEvery = 5 * time.Second // as control/client does
	awayAfter   = 4 * reportEvery
	forgetAfter = 24 * time.Hour
	leftFor     = 10 * time.Minute // after a goodbye: what it signed is still about
	tidyEvery   = 5 * time.Second
	flushEvery  = 500 * time.Millisecond
	shareEvery  = 5 * time.Second // how often controls read what others have heard
)

// entry is what one process of a proxy last said.
type entry struct {
	ID     string        `json:"-"`
	Report wire.Report   `json:"report"`
	Seen   time.Time     `json:"seen"`          // by the clock of the control that heard it
	Lag    time.Duration `json:"lag,omitempty"` // from the making of the slice in force to its confirmation
	Noted  uint64        `json:"noted"`         // its notes up to this number are recorded
}

// away tells whether it has not been heard of for too long.
func (e *entry) away(now time.Time) bool { return e.Report.Leaving || now.Sub(e.Seen) > awayAfter }

// over tells whether a process need not be remembered: it said goodbye, or is away, and on its host another has begun in its place since.
func (e *entry) over(now time.Time, instances map[string]*entry) bool {
	switch {
	case e.Report.Leaving:
		return now.Sub(e.Seen) > leftFor
	case !e.away(now):
		return false
	}
	for _, o := range instances {
		if o.Report.Node == e.Report.Node && o.Report.Started.After(e.Seen) {
			return true
		}
	}
	return false
}

// moved tells whether others must learn what has changed since an older one.
func (e *entry) moved(old *entry) bool {
	return e.Report.Leaving != old.Report.Leaving || !slices.Equal(e.Report.Addresses, old.Report.Addresses) ||
		!bytes.Equal(e.Report.Keys, old.Report.Keys)
}

// desk takes reports, keeps the newest of each instance, and writes them to the store in batches. It is safe for
// concurrent use; entries are never changed.
type desk struct {
	store *table.Store
	news  nudge // somebody has reported
	moved nudge // somebody has reported another address or key

	mu    sync.Mutex
	all   map[string]map[string]*entry // by identity and instance
	dirty map[string]*entry            // by deskKey
	notes map[string]*budget           // by identity
	gone  []*entry                     // whose rows are to go
	trim  time.Time
	tidy  time.Time
}

func newDesk(store *table.Store) *desk {
	return &desk{store: store, all: map[string]map[string]*entry{}, dirty: map[string]*entry{}, notes: map[string]*budget{}}
}

func deskKey(id, instance string) string { return id + " " + instance }

// Bounds of a report.
const (
	maxName      = 128 // bytes of an instance or node
	maxReason    = 4 << 10
	maxAddresses = 16
	maxNotes     = 256
	maxNote      = 1 << 10
	maxJWKS      = 16 << 10
	maxInstances = 64 // of one identity whose reports are kept; more are processes that come and go
)

// checkReport refuses what no honest proxy says.
func checkReport(r *wire.Report) error {
	plain := func(s string) bool {
		return len(s) <= maxName && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
	}
	switch {
	case r.Instance == "" || !plain(r.Instance) || !plain(r.Node) || !plain(r.Version):
		return errors.New("instance, node and version must be plain and short")
	case len(r.Reason) > maxReason || len(r.Addresses) > maxAddresses || len(r.Notes) > maxNotes || len(r.Keys) > maxJWKS:
		return errors.New("the report is too long")
	case r.Stale != "" && r.Stale != "stop" && r.Stale != "serve":
		return errors.New("stale is stop, serve or nothing")
	}
	for _, a := range r.Addresses {
		host, port, err := net.SplitHostPort(a)
		if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil || host == "" || !plain(a) {
			return errors.New("an address is not host:port")
		}
	}
	for _, n := range r.Notes {
		if len(n.Kind) > maxName || len(n.Text) > maxNote {
			return errors.New("a note is too long")
		}
	}
	return nil
}

// receive takes a report of a proven identity. It returns the notes that are new, as far as they may be recorded now; noted is the number
// of the last one that is. The others come again with the next report.
func (d *desk) receive(id string, r wire.Report, now time.Time) (fresh []wire.Note, noted uint64, err error) {
	if err := checkReport(&r); err != nil {
		return nil, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.all[id][r.Instance]
	e := &entry{ID: id, Report: r, Seen: now}
	if old != nil && old.Report.Started.Equal(r.Started) {
		if r.Number < old.Report.Number {
			return nil, old.Noted, nil
		}
		e.Lag, e.Noted = old.Lag, old.Noted
	}
	if !r.Made.IsZero() && (old == nil || !old.Report.Made.Equal(r.Made)) {
		e.Lag = max(now.Sub(r.Made), 0)
	}
	for _, n := range r.Notes {
		if n.Number <= e.Noted {
			continue
		}
		if !d.budget(id).take(now, notesMost) {
			break
		}
		fresh, e.Noted = append(fresh, n), n.Number
	}
	if old == nil {
		d.makeRoom(id)
	}
	d.put(e)
	d.dirty[deskKey(id, r.Instance)] = e
	d.news.wake()
	if old == nil || e.moved(old) {
		d.moved.wake()
	}
	return fresh, e.Noted, nil
}

const notesMost = 300 // of one identity in a span: a taken proxy must not fill the record, nor keep control's disk busy

// budget returns that of an identity. The lock is held.
func (d *desk) budget(id string) *budget {
	if d.notes[id] == nil {
		d.notes[id] = new(budget)
	}
	return d.notes[id]
}

// may tells whether another event about an identity may be made, beside its notes.
func (d *desk) may(id string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.budget(id).take(now, notesMost)
}

// put keeps an entry. The lock is held.
func (d *desk) put(e *entry) {
	if d.all[e.ID] == nil {
		d.all[e.ID] = map[string]*entry{}
	}
	d.all[e.ID][e.Report.Instance] = e
}

// makeRoom drops the longest silent instance of an identity that has too many. The lock is held.
func (d *desk) makeRoom(id string) {
	if len(d.all[id]) < maxInstances {
		return
	}
	var oldest *entry
	for _, e := range d.all[id] {
		if oldest == nil || e.Seen.Before(oldest.Seen) {
			oldest = e
		}
	}
	d.forget(oldest)
}

// forget drops an entry. The lock is held.
func (d *desk) forget(e *entry) {
	delete(d.all[e.ID], e.Report.Instance)
	delete(d.dirty, deskKey(e.ID, e.Report.Instance))
	if len(d.gone) < maxGone {
		d.gone = append(d.gone, e)
	}
}

// tidyUp drops processes that are over. The lock is held.
func (d *desk) tidyUp(now time.Time) {
	if now.Sub(d.tidy) < tidyEvery {
		return
	}
	d.tidy = now
	for _, of := range d.all {
		for _, e := range of {
			if e.over(now, of) {
				d.forget(e)
			}
		}
	}
}

const maxGone = 4096 // rows that wait for the store to be deleted; what is more goes with its day

// entries returns all, in no order.
func (d *desk) entries() []*entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*entry, 0, len(d.all))
	for _, of := range d.all {
		for _, e := range of {
			out = append(out, e)
		}
	}
	return out
}

// of returns those of one identity, in no order.
func (d *desk) of(id string) []*entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.all[id]))
}

// get returns what an instance last said, or nil.
func (d *desk) get(id, instance string) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id][instance]
}

// run writes what is new to the store, and with several controls reads what others wrote, until ctx ends.
func (d *desk) run(ctx context.Context, several bool) error {
	flush, share := time.NewTicker(flushEvery), time.NewTicker(shareEvery)
	defer flush.Stop()
	defer share.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
			defer cancel()
			_ = d.flush(last) // reports come again
			return nil
		case <-flush.C:
			_ = d.flush(ctx) // tried again with the next
		case <-share.C:
			if several {
				_ = d.load(ctx) // tried again with the next
			}
		}
	}
}

// flush writes what is new.
func (d *desk) flush(ctx context.Context) error {
	d.mu.Lock()
	now := time.Now()
	d.tidyUp(now)
	dirty, gone := d.dirty, d.gone
	d.dirty, d.gone = map[string]*entry{}, nil
	trim := now.Sub(d.trim) > forgetAfter/24
	if trim {
		d.trim = now
		for id, of := range d.all {
			maps.DeleteFunc(of, func(_ string, e *entry) bool { return now.Sub(e.Seen) > forgetAfter })
			if len(of) == 0 {
				delete(d.all, id)
			}
		}
	}
	d.mu.Unlock()
	if len(dirty) == 0 && len(gone) == 0 && !trim {
		return nil
	}
	err := d.store.Write(ctx, func(t *table.Tx) error {
		for _, e := range gone {
			if err := t.ForgetReport(ctx, e.ID, e.Report.Instance); err != nil {
				return err
			}
		}
		for _, e := range dirty {
			if err := putEntry(ctx, t, e); err != nil {
				return err
			}
		}
		if trim {
			_, err := t.ForgetReports(ctx, now.Add(-forgetAfter))
			return err
		}
		return nil
	})
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gone = append(gone, d.gone...)
		for key, e := range dirty {
			if d.dirty[key] == nil && d.all[e.ID][e.Report.Instance] == e {
				d.dirty[key] = e
			}
		}
	}
	return err
}

func putEntry(ctx context.Context, t *table.Tx, e *entry) error {
	detail, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	r := &e.Report
	return t.PutReport(ctx, table.Report{
		ID: e.ID, Instance: r.Instance, Version: r.Version, Accepted: r.Accepted, Reason: r.Reason,
		Expires: r.Expires, Reported: e.Seen, Detail: detail,
	})
}

// load takes over what the store knows and this process does not.
func (d *desk) load(ctx context.Context) error {
	var rows []table.Report
	err := d.store.Read(ctx, func(t *table.Tx) (err error) {
		rows, err = t.Reports(ctx)
		return err
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	news, moved := false, false
	for _, row := range rows {
		old := d.all[row.ID][row.Instance]
		if old != nil && !row.Reported.After(old.Seen.Truncate(time.Microsecond)) {
			continue
		}
		e := &entry{}
		if err := json.Unmarshal(row.Detail, e); err != nil {
			continue // of another version of the program; the next report mends it
		}
		e.ID, e.Report.Instance, news = row.ID, row.Instance, true
		if old == nil || e.moved(old) {
			moved = true
		}
		if old == nil {
			d.makeRoom(e.ID)
		}
		d.put(e)
	}
	if news {
		d.news.wake()
	}
	if moved {
		d.moved.wake()
	}
	return nil
}
