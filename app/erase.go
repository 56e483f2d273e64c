package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/palisade-security/palisade/app/person"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/table"
)

// mountErase mounts what administrators ask of persons of a running fleet.
func (e *edge) mountErase(mount func(string, func(context.Context, string, *http.Request) (any, error))) {
	persons := erasing{e.memory, e.recorder, func() int { return len(e.serving().Export) }}
	answer := func(ctx context.Context, r *http.Request, plan bool) (admin.EraseResult, error) {
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxCommand))
		if err != nil {
			return admin.EraseResult{}, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: "the request cannot be read"}
		}
		return admin.Erasure(context.WithoutCancel(ctx), persons, body, plan)
	}
	mount("POST "+admin.ErasePlanPath, func(ctx context.Context, _ string, r *http.Request) (any, error) { return answer(ctx, r, true) })
	mount("POST "+admin.ErasePath, func(ctx context.Context, who string, r *http.Request) (any, error) {
		out, err := answer(ctx, r, false)
		act := &event.Act{Kind: event.KindErased, Who: who, Role: string(admin.Admin), Object: out.Pseudonym, Outcome: event.Done, Text: admin.EraseText(&out), Proxy: "control"}
		if err != nil {
			act.Outcome, act.Text = event.Failed, err.Error()
		}
		e.recorder.Act(ctx, &event.Event{Act: act})
		return out, err
	})
}

// persons opens the book of persons of a control, in its truth: that of all controls that share it.
func (s *stand) persons(ctx context.Context, o *control.Options, kept *memory, rec *recorder, model func() *model.Snapshot) error {
	wanted := s.snap.Audit.Pseudonyms
	there, err := person.Has(ctx, o.Store)
	if err != nil {
		return err
	}
	if !wanted && !there {
		return nil
	}
	book, err := person.Open(ctx, o.Store, o.Ring)
	if err != nil {
		return sameRing(err)
	}
	kept.knows(book, wanted, rec)
	o.Persons = erasing{kept, rec, func() int {
		if m := model(); m != nil {
			return len(m.Export)
		}
		return 0
	}}
	o.Names = book
	return nil
}

// knownPersons opens the book of persons that a process left in a state directory. Nil: there is none. The func that is returned ends its use.
func knownPersons(ctx context.Context, state string) (*person.Book, func() error, error) {
	for _, at := range []struct{ tables, keys, ring string }{
		{personsFile(state), filepath.Join(state, "keys"), filepath.Join(state, "ring")},
		{filepath.Join(controlFolder(state), "control.db"), filepath.Join(controlFolder(state), "keys"), filepath.Join(controlFolder(state), "ring")},
	} {
		if _, err := os.Stat(at.tables); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		tables, err := table.Open(ctx, "sqlite:"+at.tables)
		if err != nil {
			return nil, nil, err
		}
		there, err := person.Has(ctx, tables)
		if err != nil || !there {
			if err = errors.Join(err, tables.Close()); err != nil {
				return nil, nil, err
			}
			continue
		}
		book, err := openKnown(ctx, tables, at.keys, at.ring)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("the events have pseudonyms, and the keys of persons do not open: %w", err), tables.Close())
		}
		return book, tables.Close, nil
	}
	return nil, func() error { return nil }, nil
}

func openKnown(ctx context.Context, tables *table.Store, keys, ring string) (*person.Book, error) {
	if _, err := os.Stat(keys); err != nil { // a KMS wraps the ring, which the process that runs asks
		return nil, fmt.Errorf("ask while it runs: %w", err)
	}
	keeper, err := keyring.LocalKeeper(keys)
	if err != nil {
		return nil, err
	}
	r, err := keyring.OpenRing(ctx, ring, keeper)
	if err != nil {
		return nil, err
	}
	return person.Open(ctx, tables, r)
}

// ErrNotErased says that nothing was erased.
var ErrNotErased = errors.New("not erased")

// Erase destroys the key of a person, after it has shown what that means and asked; yes: without asking.
func Erase(ctx context.Context, o *Options, user string, yes bool) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	q := admin.EraseRequest{User: user}
	plan, err := c.Erase(ctx, q, true)
	if err != nil {
		return o.asked(err)
	}
	if !o.JSON {
		fmt.Fprint(o.Err, erasurePlan(&plan))
	}
	if plan.Held != "" {
		return fmt.Errorf("%w: hold %q keeps events of that person; release it first: palisade hold release %s", ErrNotErased, plan.Held, plan.Held)
	}
	if err := o.consent(question{"Erase this person?", "erases", ErrNotErased}, yes); err != nil {
		return err
	}
	out, err := c.Erase(ctx, q, false)
	if err != nil {
		return o.asked(err)
	}
	if o.JSON {
		return writeJSON(o.Out, out)
	}
	_, err = fmt.Fprint(o.Out, erasureDone(&out))
	return err
}

// erasurePlan says what an erasure means, before it is done.
func erasurePlan(r *admin.EraseResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is recorded in %d events. When the key is destroyed nobody can tell whom they mean, also not from the ledger; it cannot be undone.\n", r.Pseudonym, r.Events)
	if r.Named > 0 {
		fmt.Fprintf(&b, "%d events say the name: they were recorded without pseudonyms, cannot be changed, and go when audit.retain says.\n", r.Named)
	}
	return b.String()
}

// erasureDone says what is left.
func erasureDone(r *admin.EraseResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the key of %s is destroyed\n", r.Pseudonym)
	fmt.Fprintf(&b, "  %d events stay, under a pseudonym that leads to nobody; the ledger verifies as before\n", r.Events)
	if r.Named > 0 {
		fmt.Fprintf(&b, "  %d events say the name, from before there were pseudonyms: they go when audit.retain says\n", r.Named)
	}
	if r.Exports > 0 {
		fmt.Fprintf(&b, "  %d servers to which events are exported have the pseudonym\n", r.Exports)
	}
	if r.Disk != "" {
		fmt.Fprintf(&b, "  %s: of a PostgreSQL run VACUUM FULL persons, of SQLite start what has it open anew\n", r.Disk)
	}
	if r.Bus != "" {
		fmt.Fprintf(&b, "  %s\n", r.Bus)
	}
	b.WriteString("  not reached: backups of the keys of persons, records that proxies have not delivered, logs of services elsewhere\n")
	return b.String()
}
