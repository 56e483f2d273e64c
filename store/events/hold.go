package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// hold is a hold and what it means.
type hold struct {
	query.Hold
	meant query.Query
}

const holdsName = "holds.json"

// readHolds reads the holds that stand. Without knowing them nothing may be deleted, so the store does not open.
func readHolds(dir string) ([]hold, error) {
	path := filepath.Join(dir, holdsName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []query.Hold
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	var out []hold
	for i := 0; i < len(all) && err == nil; i++ {
		one := hold{Hold: all[i]}
		one.meant, err = one.Meant()
		out = append(out, one)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the holds in %s: %w; restore it from a backup of the directory", path, err)
	}
	return out, nil
}

// Hold keeps events from being deleted for their age until Release. It is safe on disk when Hold returns. The error may be
// query.ErrHeld.
func (s *Store) Hold(_ context.Context, h query.Hold) error {
	meant, err := h.Meant()
	if err != nil {
		return fmt.Errorf("placing a hold: %w", err)
	}
	return s.hold(func(all []hold) ([]hold, error) {
		if slices.ContainsFunc(all, func(one hold) bool { return one.Name == h.Name }) {
			return nil, fmt.Errorf("placing hold %q: %w", h.Name, query.ErrHeld)
		}
		return append(all, hold{h, meant}), nil
	})
}

// Release ends a hold and returns what it was. What it alone has kept is deleted when Retain comes by. The error may be query.ErrNoHold.
func (s *Store) Release(_ context.Context, name string) (was query.Hold, err error) {
	return was, s.hold(func(all []hold) ([]hold, error) {
		at := slices.IndexFunc(all, func(one hold) bool { return one.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("releasing hold %q: %w", name, query.ErrNoHold)
		}
		was = all[at].Hold
		return slices.Delete(all, at, at+1), nil
	})
}

// Holds returns the holds that stand, in the order in which they were placed.
func (s *Store) Holds(context.Context) ([]query.Hold, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return plainHolds(s.holds), nil
}

func plainHolds(all []hold) []query.Hold {
	out := make([]query.Hold, len(all))
	for i := range all {
		out[i] = all[i].Hold
	}
	return out
}

// hold changes the holds. Nothing is being deleted meanwhile.
func (s *Store) hold(change func([]hold) ([]hold, error)) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.held.Load() {
		return ErrClosed
	}
	next, err := change(slices.Clone(s.holds))
	if err != nil {
		return err
	}
	if err := replaceJSON(s.opts.Dir, holdsName, plainHolds(next)); err != nil {
		return fmt.Errorf("writing the holds: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = next
	return nil
}

// spare is what must not be deleted of a segment that is older than its class is kept.
type spare struct {
	queries []query.Query
	names   string // by which it is known whether a segment was judged by the same
}

// spared returns what must not be deleted of a segment whose last event is of some time.
func (s *Store) spared(last int64, now time.Time) spare {
	var out spare
	var names strings.Builder
	for i := range s.holds {
		out.queries = append(out.queries, s.holds[i].meant)
		fmt.Fprintf(&names, "%s %d,", s.holds[i].Name, s.holds[i].Placed.UnixNano())
	}
	for i, l := range s.opts.Longer {
		if last >= now.Add(-l.Keep).UnixNano() {
			out.queries = append(out.queries, query.Query{Where: l.Where})
			names.WriteString(strconv.Itoa(i) + ",")
		}
	}
	out.names = names.String()
	return out
}

// spares tells whether an event is not to be refused although others of its class and time were deleted. The caller holds the lock.
func (s *Store) spares(e *event.Event) bool {
	p := s.spared(e.Time.UnixNano(), time.Now())
	return slices.ContainsFunc(p.queries, func(q query.Query) bool { return q.Match(e) })
}

// rows returns which events of a segment are spared, in the order of their time, and what the others are.
func (p *spare) rows(from []segment.Chunk) (out []segment.Row, gone Deleted, err error) {
	for i, c := range from {
		union := make([]bool, c.Rows())
		for j := range p.queries {
			set, err := segment.Select(c, &p.queries[j])
			if err != nil {
				return nil, gone, err
			}
			for _, row := range set.Rows() {
				union[row] = true
			}
		}
		numbers, err := segment.NumbersOf(c)
		if err != nil {
			return nil, gone, err
		}
		for row, in := range union {
			if in {
				out = append(out, segment.Row{Chunk: i, Row: uint32(row)})
			} else {
				n := uint64(numbers[row])
				gone = gone.and(Deleted{1, n, n})
			}
		}
	}
	return out, gone, nil
}
