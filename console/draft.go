package console

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// The bounds of what is kept of drafts. The oldest makes room.
const (
	draftLife  = time.Hour
	mostDrafts = 16
)

// How far a draft has come.
const (
	drafted  = "drafted"
	applying = "applying"
	ended    = "ended" // with a result or an error
)

// drafts are the models that people look at before they apply them: what is applied is what was shown.
type drafts struct {
	mu   sync.Mutex
	all  map[string]*draft
	busy bool
	work chan *draft // what is to be applied; one at a time is
}

// draft is a Draft and what became of it. What changes is guarded by drafts.
type draft struct {
	*Draft
	ID     string
	By     Person
	Made   time.Time
	State  string
	How    How
	Begun  time.Time
	Result *Applied
	Error  string
}

func newDrafts() *drafts { return &drafts{all: map[string]*draft{}, work: make(chan *draft, 1)} }

// keep keeps a draft of somebody and returns its name.
func (d *drafts) keep(one *Draft, by Person, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, old := range d.all {
		if now.Sub(old.Made) >= draftLife && old.State != applying {
			delete(d.all, id)
		}
	}
	for len(d.all) >= mostDrafts {
		var first *draft
		for _, old := range d.all {
			if old.State != applying && (first == nil || old.Made.Before(first.Made)) {
				first = old
			}
		}
		delete(d.all, first.ID)
	}
	id := rand.Text()
	d.all[id] = &draft{Draft: one, ID: id, By: by, Made: now, State: drafted}
	return id
}

// find returns a draft of somebody as it stands now; nil: there is none.
func (d *drafts) find(id, who string, now time.Time) *draft {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[id]
	if one == nil || one.By.Name != who || now.Sub(one.Made) >= draftLife && one.State != applying {
		return nil
	}
	out := *one
	return &out
}

var errBusy = errors.New("another model is being applied")

// begin hands a draft to the one who applies, once.
func (d *drafts) begin(id string, by Person, how How, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[id]
	if one == nil || one.State != drafted || d.busy {
		return errBusy
	}
	one.State, one.By, one.How, one.Begun, d.busy = applying, by, how, now, true
	d.work <- one
	return nil
}

// run applies drafts that are handed over, until ctx ends.
func (d *drafts) run(ctx context.Context, a Applier) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-d.work:
			out, err := a.Apply(ctx, one.By, one.Draft, one.How)
			d.mu.Lock()
			one.State, one.Result, d.busy = ended, out, false
			if err != nil {
				one.Error = err.Error()
			}
			d.mu.Unlock()
		}
	}
}
