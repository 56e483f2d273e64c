package events

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/query"
)

// deposit is what the manifest says of a bucket.
type deposit struct {
	ID       string   `json:"id,omitempty"`       // of this store: who owns what lies under the prefix
	Revision uint64   `json:"revision,omitempty"` // the bucket's manifest is never newer
	Garbage  []string `json:"garbage,omitempty"`  // objects that may be there and are to be deleted
}

// catalogue is the manifest in the bucket: of what lies there.
type catalogue struct {
	Writer string       `json:"writer"` // the process that wrote it
	Holds  []query.Hold `json:"holds,omitempty"`
	manifest
}

const (
	catalogueName = "manifest.json"
	maxCatalogue  = 1 << 30 // bytes
)

// depositor brings segments into a bucket. It is owned by who holds its lock.
type depositor struct {
	sync.Mutex

	writer    string
	claimed   bool
	tag       string // of the catalogue as it was written last
	published []byte // what it said, but for what says nothing of segments
	usurped   error  // why this process must not write there any more
}

// ripe is after how long behind its hour a segment is brought: it will have been merged by then.
const ripe = time.Hour + 2*settled

// Deposit brings the segments of hours that are over into the bucket, removes the oldest files of those that are there while they take
// more room than Disk, and deletes the objects of segments that are no more. Sealing does not wait for it. What fails is tried again by
// the next call; until then all is as it was.
func (s *Store) Deposit(ctx context.Context, now time.Time) error {
	if s.opts.Bucket == nil {
		return nil
	}
	s.depositor.Lock()
	defer s.depositor.Unlock()
	if err := s.claim(ctx); err != nil {
		return fmt.Errorf("bringing segments to %v: %w", s.opts.Bucket, err)
	}
	err := s.bring(ctx, now)
	if evicted := s.evict(); evicted != nil {
		err = errors.Join(err, evicted)
	}
	if err == nil {
		err = s.publish(ctx)
	}
	if err == nil {
		err = s.sweep(ctx)
	}
	if err != nil {
		return fmt.Errorf("bringing segments to %v: %w", s.opts.Bucket, err)
	}
	s.reached()
	return nil
}

// reached has Retain judge again what it could not read.
func (s *Store) reached() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, one := range s.segments.all {
		if one.unread {
			one.judged, one.unread = "", false
		}
	}
}

// claim finds out, once, whether what lies under the prefix belongs to this store.
func (s *Store) claim(ctx context.Context) error {
	d := &s.depositor
	if d.claimed || d.usurped != nil {
		return d.usurped
	}
	c, tag, err := readCatalogue(ctx, s.opts.Bucket)
	absent := errors.Is(err, bucket.ErrAbsent)
	if err != nil && !absent {
		return err
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	own := s.now.Bucket
	switch {
	case absent && own.Revision > 0:
		return fmt.Errorf("it has no %s, and this store has brought segments: it is another bucket or prefix, or was emptied", catalogueName)
	case !absent && c.Bucket.ID != own.ID:
		return errors.New("another store keeps its segments there: give each a prefix of its own")
	case !absent && c.Bucket.Revision > own.Revision:
		return fmt.Errorf("a later state of this store has written there (revision %d, here %d): another process has a copy of this directory, or it is an old copy; move it away to begin with what the bucket has", c.Bucket.Revision, own.Revision)
	}
	if own.ID == "" {
		m := s.now
		m.Bucket.ID = newID()
		if err := s.exchange(m, nil, nil); err != nil {
			return err
		}
	}
	d.tag, d.claimed = tag, true
	return nil
}

func newID() string { return strings.ToLower(rand.Text()[:16]) }

func readCatalogue(ctx context.Context, b *bucket.Bucket) (*catalogue, string, error) {
	text, tag, err := b.Get(ctx, catalogueName, maxCatalogue)
	if err != nil {
		return nil, "", err
	}
	c := &catalogue{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, "", fmt.Errorf("reading %s in %v: %w", catalogueName, b, err)
	}
	return c, tag, nil
}

// adopt makes the manifest of a store that begins of what a bucket has from one before it, and takes that over.
func adopt(ctx context.Context, o *Options, writer string) (*manifest, error) {
	c, tag, err := readCatalogue(ctx, o.Bucket)
	if errors.Is(err, bucket.ErrAbsent) {
		return &manifest{Number: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range c.Segments {
		if e := &c.Segments[i]; !filepath.IsLocal(e.Name) || filepath.Base(e.Name) != e.Name || e.Object == "" {
			return nil, fmt.Errorf("%s in %v names a segment %q, which is none", catalogueName, o.Bucket, e.Name)
		}
	}
	c.Writer, c.Bucket.ID = writer, newID() // so that what is brought from here on has other names than what the one before may bring
	c.Bucket.Revision++
	if _, err := c.write(ctx, o.Bucket, tag); err != nil {
		return nil, err
	}
	own, err := readHolds(o.Dir)
	if err != nil {
		return nil, err
	}
	holds := plainHolds(own)
	for _, h := range c.Holds {
		if !slices.ContainsFunc(holds, func(one query.Hold) bool { return one.Name == h.Name }) {
			holds = append(holds, h)
		}
	}
	if err := replaceJSON(o.Dir, holdsName, holds); err != nil {
		return nil, fmt.Errorf("writing the holds: %w", err)
	}
	return &c.manifest, c.manifest.write(o.Dir)
}

// write replaces the catalogue.
func (c *catalogue) write(ctx context.Context, b *bucket.Bucket, tag string) (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return b.Replace(ctx, catalogueName, "application/json", text, tag)
}

// objectOf is the name that a segment has in the bucket, of which folders are partitions to those who read Parquet there.
func (s *Store) objectOf(e *entry) string {
	if e.Object != "" {
		return e.Object
	}
	day := time.Unix(0, e.First).UTC().Format(time.DateOnly)
	return fmt.Sprintf("class=%s/date=%s/%s-%s.parquet", e.Class, day, strings.TrimSuffix(e.Name, ".parquet"), s.now.Bucket.ID)
}

// bring puts segments that are not in the bucket, the oldest first.
func (s *Store) bring(ctx context.Context, now time.Time) error {
	for {
		one := s.toBring(now)
		if one == nil {
			return nil
		}
		err := s.put(ctx, one)
		if err := errors.Join(err, one.drop()); err != nil {
			return err
		}
	}
}

// toBring returns a segment that is held until drop; nil if there is none.
func (s *Store) toBring(now time.Time) *sealed {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, one := range s.segments.all {
		if one.due(now) {
			one.users.Add(1)
			return one
		}
	}
	return nil
}

func (s *Store) put(ctx context.Context, one *sealed) error {
	s.keeping.Lock()
	name := s.objectOf(&one.entry)
	f, err := os.Open(s.shelf.path(&one.entry))
	s.keeping.Unlock()
	if errors.Is(err, os.ErrNotExist) && !s.consists(one) {
		return nil // it was merged or deleted meanwhile
	}
	if err != nil {
		return err
	}
	err = s.opts.Bucket.Put(ctx, name, "application/vnd.apache.parquet", f, one.Bytes, one.Sum)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if !s.consists(one) {
		return nil // who removed it has noted its object
	}
	e := one.entry
	e.Object = name
	next := s.shelf.open(&e)
	if next.err != nil {
		return errors.Join(next.err, next.drop())
	}
	next.judged = one.judged
	return errors.Join(s.exchange(s.now, []*sealed{one}, []*sealed{next}), one.drop())
}

// consists tells whether a segment is one of the store's.
func (s *Store) consists(one *sealed) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.segments.all, one)
}

// evict removes the files of the oldest segments that the bucket has, until the rest are small enough.
func (s *Store) evict() error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	var files []*sealed
	size := int64(0)
	s.mu.RLock()
	for _, one := range s.segments.all {
		if one.Object != "" && !one.away && one.err == nil {
			files, size = append(files, one), size+one.Bytes
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(files, func(a, b *sealed) int { return int(min(max(a.Last-b.Last, -1), 1)) })
	for _, one := range files {
		if size <= s.opts.Disk {
			break
		}
		if err := s.away(one); err != nil {
			return err
		}
		size -= one.Bytes
	}
	return nil
}

// away removes the file of a segment, and keeps its tail.
func (s *Store) away(one *sealed) error {
	tail, err := one.segment.Ending()
	if err == nil {
		err = s.shelf.keepTail(&one.entry, tail)
	}
	if err != nil {
		return err
	}
	next := &sealed{entry: one.entry, away: true, judged: one.judged}
	next.users.Store(1)
	if next.segment, err = s.shelf.openAway(&one.entry); err != nil {
		return err
	}
	s.mu.Lock()
	all := slices.Clone(s.segments.all)
	all[slices.Index(all, one)] = next
	s.segments = newTimeline(all)
	s.mu.Unlock()
	return errors.Join(one.drop(), os.Remove(s.shelf.path(&one.entry)))
}

// publish writes the catalogue if what it says has changed.
func (s *Store) publish(ctx context.Context) error {
	d := &s.depositor
	s.keeping.Lock()
	c := catalogue{Writer: d.writer, Holds: plainHolds(s.holds), manifest: s.now}
	c.Segments = slices.DeleteFunc(slices.Clone(c.Segments), func(e entry) bool { return e.Object == "" })
	slices.SortFunc(c.Segments, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	c.Sealed, c.Bucket.Revision = 0, 0
	text, err := json.Marshal([]any{c.Segments, c.Kept, c.Deleted, c.Holds})
	if err != nil || bytes.Equal(text, d.published) {
		s.keeping.Unlock()
		return err
	}
	m := s.now
	m.Bucket.Revision++
	err = s.exchange(m, nil, nil)
	c.Bucket.Revision = m.Bucket.Revision
	s.keeping.Unlock()
	if err != nil {
		return err
	}
	if err := s.replaceCatalogue(ctx, &c); err != nil {
		return err
	}
	d.published = text
	return nil
}

// replaceCatalogue compares and swaps. A try of this process of which no answer came may have been the last to write.
func (s *Store) replaceCatalogue(ctx context.Context, c *catalogue) error {
	d := &s.depositor
	tag, err := c.write(ctx, s.opts.Bucket, d.tag)
	if errors.Is(err, bucket.ErrChanged) {
		there, now, failed := readCatalogue(ctx, s.opts.Bucket)
		switch {
		case failed != nil && !errors.Is(failed, bucket.ErrAbsent):
			return failed
		case failed != nil || there.Writer != d.writer:
			d.usurped = errors.New("another process has written there since this one began: give each store a prefix of its own, and start only one on each")
			return d.usurped
		}
		tag, err = c.write(ctx, s.opts.Bucket, now)
	}
	if err == nil {
		d.tag = tag
	}
	return err
}

// sweep deletes the objects of segments that are no more and that nobody reads any more.
func (s *Store) sweep(ctx context.Context) error {
	s.keeping.Lock()
	garbage := slices.DeleteFunc(slices.Clone(s.now.Bucket.Garbage), func(name string) bool {
		one := s.leaving[name]
		return one != nil && one.users.Load() > 0
	})
	s.keeping.Unlock()
	gone := map[string]bool{}
	var failed error
	for _, name := range garbage {
		if failed = s.opts.Bucket.Delete(ctx, name); failed != nil {
			break
		}
		gone[name] = true
	}
	if len(gone) == 0 {
		return failed
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	for name := range gone {
		delete(s.leaving, name)
	}
	m := s.now
	m.Bucket.Garbage = slices.DeleteFunc(slices.Clone(m.Bucket.Garbage), func(name string) bool { return gone[name] })
	return errors.Join(failed, s.exchange(m, nil, nil))
}

// carry calls Deposit until ctx ends.
func (s *Store) carry(ctx context.Context, report func(error)) {
	const sulk = time.Minute // after what failed
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := s.often()
		if err := s.Deposit(ctx, time.Now()); err != nil && ctx.Err() == nil {
			report(err)
			wait = sulk
		}
		timer.Reset(wait)
	}
}

// leave notes the objects of segments that are no more. The caller holds keeping.
func (s *Store) leave(m *manifest, old []*sealed) {
	if m.Bucket.ID == "" {
		return
	}
	m.Bucket.Garbage = slices.Clone(m.Bucket.Garbage)
	for _, one := range old {
		if s.opts.Bucket == nil && one.Object == "" {
			continue
		}
		name := s.objectOf(&one.entry) // it may be there although we do not know: it was put, and the process died
		m.Bucket.Garbage = append(m.Bucket.Garbage, name)
		s.leaving[name] = one
	}
}
