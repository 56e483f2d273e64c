package table_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/table"
)

// TestPersons: a person is there once, is found by both names until it is removed, and counters tell that something changed.
func TestPersons(t *testing.T) {
	each(t, func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store) {
		ctx := soon(t)
		alice := table.Person{Finder: []byte("finder-a"), Pseudonym: "person-a", Key: []byte("key"), Name: []byte("name"), Since: time.Now().UTC().Truncate(time.Microsecond)}
		bob := table.Person{Finder: []byte("finder-b"), Pseudonym: "person-b", Key: []byte("key"), Name: []byte("name"), Since: alice.Since}
		add := func(p table.Person) error {
			return s.Write(ctx, func(tx *table.Tx) error { _, err := tx.AddPerson(ctx, p); return err })
		}
		must(t, add(alice))
		must(t, add(bob))
		if err := add(alice); !errors.Is(err, table.ErrConflict) {
			t.Errorf("a second time: %v", err)
		}
		o := another(t)
		read(t, o, func(tx *table.Tx) error {
			got, err := tx.FindPerson(ctx, alice.Finder)
			must(t, err)
			same, err := tx.PersonCalled(ctx, alice.Pseudonym)
			must(t, err)
			if got.Number != 1 || !bytes.Equal(got.Name, alice.Name) || !bytes.Equal(got.Key, alice.Key) || !got.Since.Equal(alice.Since) || same.Pseudonym != got.Pseudonym {
				t.Errorf("%+v, %+v", got, same)
			}
			all, err := tx.Finders(ctx, 1, 10)
			if err != nil || len(all) != 1 || !bytes.Equal(all[0].Finder, bob.Finder) {
				t.Errorf("%+v, %v", all, err)
			}
			return nil
		})
		must(t, s.Write(ctx, func(tx *table.Tx) error { return tx.RemovePerson(ctx, alice.Pseudonym) }))
		if err := s.Write(ctx, func(tx *table.Tx) error { return tx.RemovePerson(ctx, alice.Pseudonym) }); !errors.Is(err, table.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		must(t, s.Scrub(ctx))
		must(t, add(alice)) // with a new number, so that who knows some sees it
		read(t, o, func(tx *table.Tx) error {
			added, removed, err := tx.Persons(ctx)
			if err != nil || added < 3 || removed != 1 {
				t.Errorf("%d added, %d removed, %v", added, removed, err)
			}
			got, err := tx.FindPerson(ctx, alice.Finder)
			if err != nil || got.Number < 3 {
				t.Errorf("%+v, %v", got, err)
			}
			return nil
		})
	})
}

// TestScrub: nothing of a person that was removed is in any file of an SQLite that is open.
func TestScrub(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "sqlite:"+filepath.Join(dir, "tables.db"))
	ctx := soon(t)
	secret := []byte("sealed-key-that-goes")
	must(t, s.Write(ctx, func(tx *table.Tx) error {
		_, err := tx.AddPerson(ctx, table.Person{Finder: []byte("f"), Pseudonym: "p", Key: secret, Name: []byte("n")})
		return err
	}))
	if !anywhere(t, dir, secret) {
		t.Fatal("it is not found while it is there: this test shows nothing")
	}
	must(t, s.Write(ctx, func(tx *table.Tx) error { return tx.RemovePerson(ctx, "p") }))
	must(t, s.Scrub(ctx))
	if anywhere(t, dir, secret) {
		t.Error("it is on the disk still")
	}
}

// anywhere tells whether a file below a folder has some bytes.
func anywhere(t *testing.T, dir string, what []byte) (found bool) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, what)
		return err
	}))
	return found
}
