package table

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Person is whom records mean by a pseudonym. Who has the row and the ring can tell; without the row nobody can.
type Person struct {
	Number    int64  // 1, 2, 3...; AddPerson gives it
	Finder    []byte // a keyed hash of the name, so that the table lists no names
	Pseudonym string
	Key       []byte // sealed
	Name      []byte // sealed
	Since     time.Time
}

// The counters of persons: those that were added, and those that were removed.
const (
	personsAdded   = "persons"
	personsRemoved = "persons-removed"
)

const personColumns = "number, finder, pseudonym, sealed_key, sealed_name, since"

func scanPerson(scan func(...any) error) (p Person, err error) {
	var since int64
	err = scan(&p.Number, &p.Finder, &p.Pseudonym, &p.Key, &p.Name, &since)
	p.Since = fromMicro(since)
	return p, err
}

// AddPerson adds a person and returns its number. The error wraps ErrConflict if it is there already.
func (t *Tx) AddPerson(ctx context.Context, p Person) (int64, error) {
	number, err := t.count(ctx, personsAdded)
	if err == nil {
		_, err = t.exec(ctx, "INSERT INTO persons ("+personColumns+") VALUES ($1, $2, $3, $4, $5, $6)", number, p.Finder, p.Pseudonym, p.Key, p.Name, micro(p.Since))
	}
	if err != nil {
		return 0, fmt.Errorf("adding a person: %w", err)
	}
	return number, nil
}

// FindPerson returns the person of a finder. The error wraps ErrNotFound if there is none.
func (t *Tx) FindPerson(ctx context.Context, finder []byte) (Person, error) {
	return t.person(ctx, "finder", finder)
}

// PersonCalled returns the person of a pseudonym. The error wraps ErrNotFound if there is none.
func (t *Tx) PersonCalled(ctx context.Context, pseudonym string) (Person, error) {
	return t.person(ctx, "pseudonym", pseudonym)
}

func (t *Tx) person(ctx context.Context, column string, value any) (Person, error) {
	out, err := all(ctx, t, scanPerson, "SELECT "+personColumns+" FROM persons WHERE "+column+" = $1", value)
	if err == nil && len(out) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Person{}, fmt.Errorf("reading a person: %w", err)
	}
	return out[0], nil
}

// Finder is that of the person with a number.
type Finder struct {
	Number int64
	Finder []byte
}

// Finders returns up to limit finders of persons in the order of their numbers, from after one on.
func (t *Tx) Finders(ctx context.Context, after int64, limit int) ([]Finder, error) {
	out, err := all(ctx, t, func(scan func(...any) error) (f Finder, err error) {
		return f, scan(&f.Number, &f.Finder)
	}, "SELECT number, finder FROM persons WHERE number > $1 ORDER BY number LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading persons: %w", err)
	}
	return out, nil
}

// RemovePerson removes the person of a pseudonym. The error wraps ErrNotFound if there is none. Scrub makes sure that the disk
// does not have it any more either.
func (t *Tx) RemovePerson(ctx context.Context, pseudonym string) error {
	n, err := t.exec(ctx, "DELETE FROM persons WHERE pseudonym = $1", pseudonym)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err == nil {
		_, err = t.count(ctx, personsRemoved)
	}
	if err != nil {
		return fmt.Errorf("removing a person: %w", err)
	}
	return nil
}

// Persons returns how many persons were ever added and how many removed: who remembers some knows by it whether to look again.
func (t *Tx) Persons(ctx context.Context) (added, removed int64, err error) {
	for name, into := range map[string]*int64{personsAdded: &added, personsRemoved: &removed} {
		err := t.one(ctx, "SELECT value FROM counters WHERE name = $1", []any{name}, into)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, 0, fmt.Errorf("counting persons: %w", err)
		}
	}
	return added, removed, nil
}

// scrubTries is how often Scrub asks for the log while others read what is in it.
const scrubTries = 20

// Scrub has the disk forget what was removed from the persons: their rows would else lie in free pages, and in the log. What is in backups,
// and in the log that a PostgreSQL archives, it does not reach.
func (s *Store) Scrub(ctx context.Context) error {
	if s.group == nil {
		if _, err := s.db.ExecContext(ctx, "VACUUM FULL persons"); err != nil {
			return fmt.Errorf("scrubbing the tables: %w", err)
		}
		return nil
	}
	for n := range scrubTries { // pages are overwritten when rows go (secure_delete); what is left is the log
		var busy, log, moved int
		if err := s.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved); err != nil {
			return fmt.Errorf("scrubbing the tables: %w", err)
		}
		if busy == 0 {
			return nil
		}
		if err := pause(ctx, n); err != nil {
			return fmt.Errorf("scrubbing the tables: %w", err)
		}
	}
	return fmt.Errorf("scrubbing the tables: others read from the log all the time")
}
