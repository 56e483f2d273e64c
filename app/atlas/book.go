package atlas

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/palisade-security/palisade/topology"
)

// Book reads what a Keeper keeps, also while it does. It is safe for concurrent use. Files returns where that lies: its shelf, or another
// view of the same.
type Book struct {
	Files func(context.Context) (fs.FS, error)
}

// In reads what is kept in a folder.
func In(dir string) Book {
	return Book{func(context.Context) (fs.FS, error) { return os.DirFS(dir), nil }}
}

// Contents is what is kept.
type Contents struct {
	Parts  []Span           `json:"parts"`  // of which something is kept, the oldest first: hours, and days further back
	Models []topology.Force `json:"models"` // what was in force, the oldest first
}

// Span is a time of which something is kept.
type Span struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Contents lists what is kept.
func (b Book) Contents(ctx context.Context) (*Contents, error) {
	files, err := b.Files(ctx)
	if err != nil {
		return nil, err
	}
	all, _, err := stretches(files)
	if err != nil {
		return nil, err
	}
	reigns, err := readReigns(files)
	if err != nil {
		return nil, err
	}
	out := &Contents{Parts: []Span{}, Models: []topology.Force{}}
	for _, s := range all {
		out.Parts = append(out.Parts, Span{s.from, s.until()})
	}
	for _, r := range reigns {
		out.Models = append(out.Models, topology.Force{Since: r.Since, Snapshot: r.Snapshot})
	}
	return out, nil
}

// tries is how often what is kept is read anew because it changed meanwhile.
const tries = 3

// Map is the map of a time: what was declared at its end, and what was seen in the hours whose middle lies in it; of days that are
// kept as a whole, the days. A time that is shorter than what is kept is that of the hour or day around it. The error is
// ErrNone if nothing is kept of it.
func (b Book) Map(ctx context.Context, from, until time.Time) (*topology.Map, error) {
	files, err := b.Files(ctx)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		m, err := read(files, from, until)
		if n == tries || !errors.Is(err, fs.ErrNotExist) { // hours have become a day
			return m, err
		}
	}
}

func read(files fs.FS, from, until time.Time) (*topology.Map, error) {
	reigns, err := readReigns(files)
	if err != nil {
		return nil, err
	}
	all, _, err := stretches(files)
	if err != nil {
		return nil, err
	}
	all = within(all, from, until)
	if len(reigns) == 0 || len(all) == 0 && !reigns[0].Since.Before(until) {
		return nil, ErrNone
	}
	now := under(reigns, until)
	m, err := readDeclared(files, now)
	if err != nil {
		return nil, err
	}
	f := topology.NewFold(m)
	for _, s := range all {
		k, err := readKept(files, s)
		if err != nil {
			return nil, err
		}
		f.Add(k.Part)
	}
	m = f.Map()
	for _, r := range reigns {
		if r.Since.Before(until) && (r == under(reigns, from) || !r.Since.Before(from)) {
			m.Models = append(m.Models, topology.Force{Since: r.Since, Snapshot: r.Snapshot})
		}
	}
	return m, nil
}

// within chooses what is meant by a time.
func within(all []stretch, from, until time.Time) []stretch {
	var out []stretch
	middle := from.Add(until.Sub(from) / 2)
	for _, s := range all {
		if at := s.middle(); !at.Before(from) && at.Before(until) {
			out = append(out, s)
		}
	}
	if len(out) > 0 {
		return out
	}
	return slices.DeleteFunc(slices.Clone(all), func(s stretch) bool { return middle.Before(s.from) || !middle.Before(s.until()) })
}
