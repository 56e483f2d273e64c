package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/person"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/table"
)

// personsFile is where "palisade up" keeps the keys of persons in its state directory; control keeps them in its truth.
func personsFile(state string) string { return filepath.Join(state, "persons.db") }

// openPersons opens the book of persons of a fleet on one machine. Nil: names are recorded as they are, and there is no book of before. The caller closes
// the tables.
func openPersons(ctx context.Context, state string, ring *keyring.Ring, wanted bool) (*person.Book, *table.Store, error) {
	path := personsFile(state)
	if _, err := os.Stat(path); err != nil && !wanted {
		return nil, nil, nil
	}
	tables, err := table.Open(ctx, "sqlite:"+path)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the keys of persons: %w", err)
	}
	book, err := person.Open(ctx, tables, ring)
	if err != nil {
		return nil, nil, errors.Join(err, tables.Close())
	}
	return book, tables, nil
}

// openPersons opens the book of persons of this machine.
func (e *edge) openPersons(ctx context.Context, ring *keyring.Ring, wanted bool) error {
	book, tables, err := openPersons(ctx, e.state, ring, wanted)
	if err != nil || book == nil {
		return err
	}
	e.persons = tables
	e.memory.knows(book, wanted, e.recorder)
	return nil
}

// knows has a memory show names in place of pseudonyms; with hide it keeps pseudonyms in place of names.
func (m *memory) knows(book *person.Book, hide bool, r *recorder) {
	book.Words(r.word)
	m.persons, m.hides = book, hide
	if hide {
		m.Hide(book.Hide)
	}
}

// word tells whether a name is a word of the model in force.
func (r *recorder) word(name string) bool {
	in := r.inForce.Load()
	if in == nil {
		return false
	}
	_, is := in.words()[name]
	return is
}

// wordsOf are the words of a model that stand in events wherever it is looked at: names of services, hosts, roles and providers, and the literal parts of
// declared paths.
func wordsOf(snap *model.Snapshot) map[string]struct{} {
	out := map[string]struct{}{}
	add := func(words ...string) {
		for _, w := range words {
			out[w] = struct{}{}
		}
	}
	routes := func(all []model.ResolvedRoute) {
		for i := range all {
			add(all[i].Host)
			add(strings.Split(all[i].Path, "/")...)
		}
	}
	add(snap.Fleet, snap.TrustDomain, model.EdgeName, "control")
	routes(snap.Routes)
	for i := range snap.Services {
		s := &snap.Services[i]
		add(s.Name)
		routes(s.Serve)
		if u, err := url.Parse(s.Address); err == nil {
			add(u.Host, u.Hostname())
		}
		for j := range s.Egress {
			add(s.Egress[j].Host)
		}
	}
	for i := range snap.Roles {
		add(snap.Roles[i].Name)
	}
	for i := range snap.Providers {
		add(snap.Providers[i].Name)
	}
	return out
}

// shown is what is kept as it is read.
func (m *memory) shown() admin.Events {
	if m.persons == nil {
		return m.Archive
	}
	return person.View{Of: m.Archive, Book: m.persons}
}

// Last is that of the store, with names.
func (m *memory) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	return m.shown().Last(ctx, q, n, from)
}

// Count is that of the store, with names.
func (m *memory) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	return m.shown().Count(ctx, q, by, top)
}

// Histogram is that of the store, with names.
func (m *memory) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	return m.shown().Histogram(ctx, q, step, by, top)
}

// Hold is that of the store: of users whom it names, what is kept under their pseudonyms.
func (m *memory) Hold(ctx context.Context, h query.Hold) error {
	if m.persons != nil {
		meant, err := h.Meant()
		if err == nil {
			meant, err = m.persons.AskedFor(ctx, meant)
		}
		if err != nil {
			return fmt.Errorf("placing a hold: %w", err)
		}
		h.Query = query.String(meant.Where)
	}
	return m.Archive.Hold(ctx, h)
}

// Release is that of the store, with names.
func (m *memory) Release(ctx context.Context, name string) (query.Hold, error) {
	was, err := m.Archive.Release(ctx, name)
	if err != nil || m.persons == nil {
		return was, err
	}
	was.Query, err = m.persons.ShowQuery(ctx, was.Query)
	return was, err
}

// Holds is that of the store, with names.
func (m *memory) Holds(ctx context.Context) ([]query.Hold, error) {
	all, err := m.Archive.Holds(ctx)
	if err != nil || m.persons == nil {
		return all, err
	}
	for i := range all {
		if all[i].Query, err = m.persons.ShowQuery(ctx, all[i].Query); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rehold places holds of users from before there were pseudonyms once more, for what comes under pseudonyms. What stands stays as it is: a hold is never
// released, not for a moment, but by an administrator.
func (m *memory) rehold(ctx context.Context) error {
	if _, err := m.Await(ctx); err != nil {
		return nil //nolint:nilerr // the process ends
	}
	all, err := m.Archive.Holds(ctx)
	if err != nil {
		return err
	}
	for _, h := range all {
		meant, err := h.Meant()
		if err != nil {
			return err
		}
		whole, err := m.persons.Means(ctx, meant.Where)
		if err != nil {
			return err
		}
		if whole {
			continue
		}
		was := h.Name
		h.Name = heldAgain(was)
		err = m.Hold(ctx, h)
		if errors.Is(err, query.ErrHeld) { // at an earlier start
			continue
		}
		if err != nil {
			return err
		}
		m.record(ctx, &event.Event{Act: &event.Act{
			Kind: event.KindHeld, Outcome: event.Done, Object: h.Name, Text: fmt.Sprintf("hold %q is from before there were pseudonyms, and is placed once more for what comes under them", was), Proxy: "control",
		}})
	}
	return nil
}

const (
	againSuffix = ".pseudonyms"
	mostHold    = 64 // bytes of the name of a hold
)

// heldAgain is the name of a hold that is placed once more.
func heldAgain(name string) string {
	return name[:min(len(name), mostHold-len(againSuffix))] + againSuffix
}

// letGo has the journal delete what is handed on, as long as names are to be nowhere but where the events of the fleet are kept.
func (r *recorder) letGo(ctx context.Context, upTo uint64) {
	if in := r.inForce.Load(); in == nil || !in.pseudonyms {
		return
	}
	err := r.journal.Turn(ctx)
	if err == nil {
		err = r.journal.Release(upTo + 1)
	}
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "the record keeps names that are handed on", "error", err)
		}
		return
	}
	r.gone.Store(upTo)
}

const (
	emptyTime = 15 * time.Second // until what is recorded is handed on
	emptyPoll = 50 * time.Millisecond
)

var errWaiting = &admin.Problem{
	Status: http.StatusServiceUnavailable, Title: "events wait", Detail: "what is recorded is not kept yet; try again when the store of events is open and has caught up",
}

// emptied returns when what was recorded until now is kept, and not in the journal any more.
func (r *recorder) emptied(ctx context.Context) error {
	if in := r.inForce.Load(); in == nil || !in.pseudonyms {
		return nil
	}
	upTo := r.journal.Next() - 1
	if err := r.journal.Turn(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, emptyTime)
	defer cancel()
	tick := time.NewTicker(emptyPoll)
	defer tick.Stop()
	for r.gone.Load() < upTo {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errWaiting
		}
	}
	return nil
}

// erasing destroys keys of persons where a memory and the record of its process lie.
type erasing struct {
	m       *memory
	r       *recorder
	exports func() int // servers to which events are handed on
}

// Erase is that of admin.Persons.
func (e erasing) Erase(ctx context.Context, q admin.EraseRequest, plan bool) (out admin.EraseResult, err error) {
	if e.m.persons == nil {
		return out, &admin.Problem{Status: http.StatusConflict, Title: "no pseudonyms", Detail: admin.NoPseudonyms}
	}
	if err := e.r.emptied(ctx); err != nil {
		return out, err
	}
	pseudonym, name, err := e.m.persons.Pseudonym(ctx, strings.TrimSpace(q.User))
	if errors.Is(err, person.ErrNobody) {
		return out, e.inClear(ctx, strings.TrimSpace(q.User))
	}
	if err != nil {
		return out, err
	}
	out.Pseudonym, out.Exports = pseudonym, e.exports()
	if out.Held, err = e.m.heldBy(ctx, pseudonym, name); err != nil {
		return out, err
	}
	if out.Events, err = e.m.count(ctx, query.Query{Where: under(pseudonym)}); err != nil {
		return out, err
	}
	if out.Named, err = e.m.count(ctx, query.Query{Where: query.Is{Field: query.User, Value: name}}); err != nil || plan {
		return out, err
	}
	if out.Held != "" {
		return out, &admin.Problem{
			Status: http.StatusConflict, Title: "held", Detail: fmt.Sprintf("hold %q keeps events of that person, who could not be told any more; release it first: palisade hold release %s", out.Held, out.Held),
		}
	}
	err = e.m.persons.Erase(ctx, pseudonym)
	if errors.Is(err, person.ErrOnDisk) {
		slog.ErrorContext(ctx, "the key of a person is destroyed, and may be on the disk", "person", pseudonym, "error", err)
		out.Disk, err = err.Error(), nil
	}
	out.Erased = err == nil
	if errors.Is(err, person.ErrNobody) { // meanwhile
		err = nobody(out.Named)
	}
	return out, err
}

// inClear is the *Problem of a name that no pseudonym stands for, with what says it since it was recorded before.
func (e erasing) inClear(ctx context.Context, name string) error {
	named, err := e.m.count(ctx, query.Query{Where: query.Is{Field: query.User, Value: name}})
	if err != nil {
		return err
	}
	return nobody(named)
}

// nobody is the *Problem of a name that no pseudonym stands for.
func nobody(named int64) error {
	p := &admin.Problem{
		Status: http.StatusNotFound, Title: "nobody", Detail: "no pseudonym stands for that name: nothing is recorded of the person under one, or the key is destroyed already",
	}
	if named > 0 {
		p.Detail += fmt.Sprintf("; %d events say the name, from before there were pseudonyms: they cannot be changed, and go when audit.retain says; for them to go earlier, shorten that", named)
	}
	return p
}

// under is everything that a pseudonym stands in.
func under(pseudonym string) query.Expr {
	return query.Or{query.Is{Field: query.User, Value: pseudonym}, query.Text{Words: pseudonym}}
}

// count counts events as they are kept.
func (m *memory) count(ctx context.Context, q query.Query) (int64, error) {
	counts, err := m.Archive.Count(ctx, q, query.Kind, 1)
	if err != nil {
		return 0, err
	}
	return counts.Total, nil
}

// heldBy names a hold that keeps events of a person, or is to keep them. Empty: there is none.
func (m *memory) heldBy(ctx context.Context, pseudonym, name string) (string, error) {
	all, err := m.Archive.Holds(ctx)
	if err != nil {
		return "", err
	}
	for i := range all {
		meant, err := all[i].Meant()
		if err != nil {
			return "", err
		}
		if strings.Contains(all[i].Query, pseudonym) || person.Names(meant.Where, name) {
			return all[i].Name, nil
		}
		both := query.And{under(pseudonym)}
		if meant.Where != nil {
			both = append(both, meant.Where)
		}
		meant.Where = both
		n, err := m.count(ctx, meant)
		if err != nil {
			return "", err
		}
		if n > 0 {
			return all[i].Name, nil
		}
	}
	return "", nil
}
