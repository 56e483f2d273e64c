package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/atlas"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/topology"
	"github.com/palisade-security/palisade/topology/draw"
)

// MapQuery says what to draw.
type MapQuery struct {
	From    string             // state directory, or folder of records, whose events are folded in; empty: those of Options.Reach, or none
	Since   time.Time          // events from then on; zero: all
	Until   time.Time          // events before then; zero: all
	At      Span               // the map that was kept of that time, in From or Reach or what runs here; zero: of the model
	Weights map[string]float64 // of data classes
	Format  string             // text, json, dot, mermaid, svg, html
}

// mapped is a map and what follows from it, as programs read it. topology.Read reads it, too.
type mapped struct {
	*topology.Map
	Analysis *topology.Analysis `json:"analysis"`
}

// Map draws who calls whom.
func Map(ctx context.Context, o *Options, q *MapQuery) error {
	m, err := o.readMap(ctx, q, o.paths()...)
	if err != nil {
		return err
	}
	switch q.Format {
	case "dot":
		return draw.DOT(o.Out, m)
	case "mermaid":
		return draw.Mermaid(o.Out, m)
	}
	a := m.Analyse()
	switch q.Format {
	case "json":
		return writeJSON(o.Out, mapped{m, a})
	case "svg":
		return draw.SVG(o.Out, m, a, nil)
	case "html":
		return draw.HTML(o.Out, m, a, nil)
	}
	return draw.Text(o.Out, m, a)
}

// MapBlast tells what a service reaches once it is taken.
func MapBlast(ctx context.Context, o *Options, q *MapQuery, service string) error {
	m, err := o.readMap(ctx, q, o.paths()...)
	if err != nil {
		return err
	}
	b, err := m.Blast(service)
	if err != nil {
		return err
	}
	switch q.Format {
	case "json":
		return writeJSON(o.Out, b)
	case "svg":
		return draw.SVG(o.Out, m, m.Analyse(), b)
	case "html":
		return draw.HTML(o.Out, m, m.Analyse(), b)
	}
	return draw.BlastText(o.Out, b)
}

// MapSide is one side of a comparison: a model or a map in a file, or else the map that was kept of a time.
type MapSide struct {
	Path string
	At   Span
}

// MapDiff tells what has changed from one map to another, and whether anything has. Kept maps are those of a state directory, or
// where Options say.
func MapDiff(ctx context.Context, o *Options, from string, before, after MapSide) (changed bool, err error) {
	var of [2]*topology.Map
	for i, side := range []MapSide{before, after} {
		if side.Path == "" {
			of[i], err = o.keptMap(ctx, from, side.At)
		} else {
			of[i], err = o.declaredMap([]string{side.Path})
		}
		if err != nil {
			return false, err
		}
	}
	d := topology.Compare(of[0], of[1])
	if o.JSON {
		return !d.Empty(), writeJSON(o.Out, d)
	}
	return !d.Empty(), draw.DiffText(o.Out, d)
}

// readMap makes the map of a model and of the events asked for, or reads one that was kept in a file.
func (o *Options) readMap(ctx context.Context, q *MapQuery, paths ...string) (*topology.Map, error) {
	kept := q.At != (Span{})
	var m *topology.Map
	var err error
	if kept {
		m, err = o.keptMap(ctx, q.From, q.At)
	} else {
		m, err = o.declaredMap(paths)
	}
	if err != nil {
		return nil, err
	}
	for _, class := range slices.Sorted(maps.Keys(q.Weights)) {
		if w := q.Weights[class]; w < 0 || w > 1e6 {
			return nil, fmt.Errorf("--weight %s: %v is no weight; expected 0 to 1000000", class, w)
		}
		if !m.SetWeight(class, q.Weights[class]) {
			return nil, fmt.Errorf("--weight %s: no service holds data of that class; the map has %s", class, strings.Join(slices.Sorted(maps.Keys(m.Weights)), ", "))
		}
	}
	if kept || q.From == "" && o.Reach.Control == "" {
		return m, nil
	}
	return o.foldMap(ctx, m, q)
}

func (o *Options) declaredMap(paths []string) (*topology.Map, error) {
	if len(paths) == 1 && filepath.Ext(paths[0]) == ".json" {
		f, err := os.Open(paths[0])
		if err != nil {
			return nil, fmt.Errorf("reading a map: %w", err)
		}
		defer func() { _ = f.Close() }() // opened for reading
		m, err := topology.Read(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", paths[0], err)
		}
		return m, nil
	}
	of := *o
	of.Paths = paths
	d, snap, findings, err := of.load(true)
	if err != nil {
		return nil, errors.Join(errors.New("no map: "+err.Error()), o.printFindings(o.Err, findings))
	}
	return atlas.Declared(snap, &d.Fleet), nil
}

// foldMap folds in the events of a fleet, or of one proxy.
func (o *Options) foldMap(ctx context.Context, m *topology.Map, q *MapQuery) (*topology.Map, error) {
	var from *finder
	var err error
	if q.From == "" {
		from, err = o.find(ctx, nil)
	} else if from, err = o.folder(ctx, q.From); err != nil {
		err = fmt.Errorf("--from: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer from.close()
	f := topology.NewFold(m)
	meant := query.Query{From: q.Since, To: q.Until, Where: query.Not{Of: query.Is{Field: query.Kind, Value: query.KindOpen}}}
	if err := each(ctx, from, meant, func(e *event.Event) error { f.Event(e); return nil }); err != nil {
		return nil, o.asked(err)
	}
	if m = f.Map(); !m.Observed() {
		if _, err := io.WriteString(o.Err, "warning: no event of a request or a connection in that time; the map shows what is declared\n"); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
