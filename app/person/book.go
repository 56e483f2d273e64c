// Package person keeps names of users out of what is kept of a fleet: it puts pseudonyms in their place before events are stored, shows those who
// may read events the names as long as the keys of the persons are there, and destroys those keys. It is for where the events of a fleet come together;
// what proxies record on the way there has names.
package person

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/table"
)

// ErrNobody tells that no key of a person is there: nothing is recorded under the name, or it was destroyed.
var ErrNobody = errors.New("no pseudonym stands for that name")

// Book is whom pseudonyms mean. Several processes may have one book, in the same tables and with the same ring: a person whose key one destroys
// is nobody to all of them from their next batch and their next question on. It is safe for concurrent use.
type Book struct {
	tables *table.Store
	ring   *keyring.Ring
	word   func(name string) bool // nil: nothing is a word

	mu      sync.Mutex
	digest  hash.Hash // keyed: finds persons by their names
	known   map[mark]struct{}
	upTo    int64 // number of the last person that is known
	removed int64 // how many were when the book was read last
	names   cache // persons by their names
	called  cache // and by their pseudonyms
}

// mark is the beginning of a finder. That another name has the same costs a look into the tables, and no more.
type mark [8]byte

// someone is a person whose key is open.
type someone struct {
	*keyring.Person
	name string
}

const (
	digestBlob  = "person-finder" // the key of finders, in the tables and for the ring
	findersPage = 10_000
)

// Open opens the book in some tables, and begins it if there is none.
func Open(ctx context.Context, tables *table.Store, ring *keyring.Ring) (*Book, error) {
	key, err := digestKey(ctx, tables, ring)
	if err != nil {
		return nil, fmt.Errorf("opening the book of persons: %w", err)
	}
	b := &Book{tables: tables, ring: ring, digest: hmac.New(sha256.New, key), known: map[mark]struct{}{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return nil, fmt.Errorf("opening the book of persons: %w", err)
	}
	return b, nil
}

// Words has names that are words of the fleet, such as those of services and parts of declared paths, stay where they stand in texts and paths: a user who is
// called like a service must not make its events unfindable. It is called before anything else is asked of the book; word may be called by several at once.
func (b *Book) Words(word func(name string) bool) { b.word = word }

// Has tells whether a book was begun in some tables.
func Has(ctx context.Context, tables *table.Store) (bool, error) {
	err := tables.Read(ctx, func(t *table.Tx) error {
		_, _, err := t.Blob(ctx, digestBlob)
		return err
	})
	if errors.Is(err, table.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// digestKey is the key of finders, which the first makes.
func digestKey(ctx context.Context, tables *table.Store, ring *keyring.Ring) ([]byte, error) {
	fresh := make([]byte, sha256.Size)
	_, _ = rand.Read(fresh) // never fails
	sealed, err := ring.Seal(digestBlob, fresh)
	if err != nil {
		return nil, err
	}
	err = tables.Write(ctx, func(t *table.Tx) error {
		there, _, err := t.Blob(ctx, digestBlob)
		if errors.Is(err, table.ErrNotFound) {
			return t.SaveBlob(ctx, digestBlob, sealed, 0)
		}
		sealed = there
		return err
	})
	if errors.Is(err, table.ErrConflict) { // another was faster
		err = tables.Read(ctx, func(t *table.Tx) (err error) {
			sealed, _, err = t.Blob(ctx, digestBlob)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return ring.Open(digestBlob, sealed)
}

// forget lets go of the keys that are remembered. Who may be known stays: whoever is not there any more costs a look. The caller holds the lock.
func (b *Book) forget() { b.names, b.called = cache{}, cache{} }

// refresh learns of persons that others have added or removed. The caller holds the lock.
func (b *Book) refresh(ctx context.Context) error {
	var fresh []table.Finder
	err := b.tables.Read(ctx, func(t *table.Tx) error {
		fresh = fresh[:0]
		added, removed, err := t.Persons(ctx)
		if err != nil {
			return err
		}
		if removed != b.removed {
			b.forget()
			b.removed = removed
		}
		for at := b.upTo; at < added; {
			some, err := t.Finders(ctx, at, findersPage)
			if err != nil {
				return err
			}
			fresh = append(fresh, some...)
			if len(some) < findersPage {
				break
			}
			at = some[len(some)-1].Number
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading who is known: %w", err)
	}
	for _, f := range fresh {
		b.known[mark(f.Finder)] = struct{}{}
		b.upTo = max(b.upTo, f.Number)
	}
	return nil
}

// finder is what a name is found by. The caller holds the lock.
func (b *Book) finder(name string) []byte {
	b.digest.Reset()
	b.digest.Write([]byte(name))
	return b.digest.Sum(nil)
}

// named returns the person of a name, nil if there is none. The caller holds the lock.
func (b *Book) named(ctx context.Context, name string) (*someone, error) {
	if p := b.names.get(name); p != nil {
		return p, nil
	}
	finder := b.finder(name)
	if _, may := b.known[mark(finder)]; !may {
		return nil, nil
	}
	return b.read(ctx, func(t *table.Tx) (table.Person, error) { return t.FindPerson(ctx, finder) })
}

// of returns the person of a pseudonym, nil if there is none. The caller holds the lock.
func (b *Book) of(ctx context.Context, pseudonym string) (*someone, error) {
	if p := b.called.get(pseudonym); p != nil {
		return p, nil
	}
	return b.read(ctx, func(t *table.Tx) (table.Person, error) { return t.PersonCalled(ctx, pseudonym) })
}

func (b *Book) read(ctx context.Context, find func(*table.Tx) (table.Person, error)) (*someone, error) {
	var row table.Person
	err := b.tables.Read(ctx, func(t *table.Tx) (err error) {
		row, err = find(t)
		return err
	})
	if errors.Is(err, table.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return b.open(&row)
}

// bound is what the ring ties the key or the name of a person to.
func bound(what string, finder []byte) string {
	return "person-" + what + "-" + hex.EncodeToString(finder)
}

// open opens the key of a person, and remembers it. The caller holds the lock.
func (b *Book) open(row *table.Person) (*someone, error) {
	name, err := b.ring.Open(bound("name", row.Finder), row.Name)
	if err != nil {
		return nil, err
	}
	key, err := b.ring.Open(bound("key", row.Finder), row.Key)
	if err != nil {
		return nil, err
	}
	p := &someone{name: string(name)}
	if p.Person, err = keyring.OpenPerson(key, p.name); err != nil {
		return nil, err
	}
	if p.Pseudonym() != row.Pseudonym || !bytes.Equal(b.finder(p.name), row.Finder) {
		return nil, fmt.Errorf("opening the person %s: %w", row.Pseudonym, keyring.ErrSealed)
	}
	b.names.put(p.name, p)
	b.called.put(row.Pseudonym, p)
	return p, nil
}

// welcome makes keys for those of some names that have none. The caller holds the lock.
func (b *Book) welcome(ctx context.Context, names map[string]struct{}) error {
	var strangers []table.Person
	for name := range names {
		p, err := b.named(ctx, name)
		if err != nil {
			return err
		}
		if p != nil {
			continue
		}
		row, err := b.invent(name)
		if err != nil {
			return err
		}
		strangers = append(strangers, row)
	}
	if len(strangers) == 0 {
		return nil
	}
	err := b.tables.Write(ctx, func(t *table.Tx) error {
		for i := range strangers {
			there, err := t.FindPerson(ctx, strangers[i].Finder)
			if err == nil { // another was faster
				strangers[i] = there
				continue
			}
			if !errors.Is(err, table.ErrNotFound) {
				return err
			}
			if strangers[i].Number, err = t.AddPerson(ctx, strangers[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("making keys of persons: %w", err)
	}
	for i := range strangers {
		b.known[mark(strangers[i].Finder)] = struct{}{}
		if _, err := b.open(&strangers[i]); err != nil {
			return err
		}
	}
	return nil
}

// invent makes the row of a name.
func (b *Book) invent(name string) (table.Person, error) {
	key := keyring.NewPersonKey()
	p, err := keyring.OpenPerson(key, name)
	if err != nil {
		return table.Person{}, err
	}
	row := table.Person{Finder: b.finder(name), Pseudonym: p.Pseudonym(), Since: time.Now()}
	if row.Key, err = b.ring.Seal(bound("key", row.Finder), key); err != nil {
		return table.Person{}, err
	}
	row.Name, err = b.ring.Seal(bound("name", row.Finder), []byte(name))
	return row, err
}

// Pseudonym returns what stands for a name, or a pseudonym that means somebody. The error is ErrNobody if nobody is meant.
func (b *Book) Pseudonym(ctx context.Context, name string) (pseudonym, whom string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return "", "", err
	}
	p, err := b.named(ctx, name)
	if from, _, to, found := keyring.Pseudonyms(name); err == nil && p == nil && found && from == 0 && to == len(name) {
		p, err = b.of(ctx, name)
	}
	if err == nil && p == nil {
		err = ErrNobody
	}
	if err != nil {
		return "", "", err
	}
	return p.Pseudonym(), p.name, nil
}

// ErrOnDisk tells that a key is destroyed, and that the disk below the tables could not be made to forget it.
var ErrOnDisk = errors.New("the disk may have the key still")

// Erase destroys the key of the person of a pseudonym, in the tables and on the disk below them. The error is ErrNobody if there is none, and wraps
// ErrOnDisk if the key is gone from the tables alone.
func (b *Book) Erase(ctx context.Context, pseudonym string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.tables.Write(ctx, func(t *table.Tx) error { return t.RemovePerson(ctx, pseudonym) })
	b.forget()
	switch {
	case errors.Is(err, table.ErrNotFound):
		return ErrNobody
	case err != nil:
		return err
	}
	if err := b.tables.Scrub(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrOnDisk, err)
	}
	return nil
}

// generation is how many persons a cache remembers before it begins to forget, of twice as many at most.
const generation = 1 << 13

// cache remembers the persons that were met last.
type cache struct{ young, old map[string]*someone }

func (c *cache) get(key string) *someone {
	if p := c.young[key]; p != nil {
		return p
	}
	p := c.old[key]
	if p != nil {
		c.put(key, p)
	}
	return p
}

func (c *cache) put(key string, p *someone) {
	if c.young == nil || len(c.young) >= generation {
		c.young, c.old = make(map[string]*someone), c.young
	}
	c.young[key] = p
}
