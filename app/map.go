package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/topology"
	"github.com/palisade-security/palisade/topology/draw"
)

// MapQuery says what to draw.
type MapQuery struct {
	From    string             // state directory, or folder of records, whose events are folded in; empty: none
	Since   time.Time          // events from then on; zero: all
	Until   time.Time          // events before then; zero: all
	Weights map[string]float64 // of data classes
	Format  string             // text, json, dot, mermaid, svg, html
}

// mapped is a map and what follows from it, as programs read it. topology.Read reads it, too.
type mapped struct {
	*topology.Map
	Analysis *topology.Analysis `json:"analysis"`
}

// Map draws who calls whom.
func Map(o *Options, q *MapQuery) error {
	m, err := o.readMap(q, o.paths()...)
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
func MapBlast(o *Options, q *MapQuery, service string) error {
	m, err := o.readMap(q, o.paths()...)
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

// MapDiff tells what has changed from one map to another, each a model or a map in a file, and whether anything has.
func MapDiff(o *Options, before, after string) (changed bool, err error) {
	var of [2]*topology.Map
	for i, path := range []string{before, after} {
		if of[i], err = o.readMap(&MapQuery{}, path); err != nil {
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
func (o *Options) readMap(q *MapQuery, paths ...string) (*topology.Map, error) {
	m, err := o.declaredMap(paths)
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
	if q.From == "" {
		return m, nil
	}
	return o.foldMap(m, q)
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
	return topology.Declare(snap, &d.Fleet), nil
}

// foldMap reads records as Events does.
func (o *Options) foldMap(m *topology.Map, q *MapQuery) (*topology.Map, error) {
	dir := q.From
	if inside := filepath.Join(dir, "events"); isDir(inside) {
		dir = inside
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--from: no record in %s yet; palisade up or palisade edge begins one", dir)
	}
	f := topology.NewFold(m)
	for rec, err := range journal.Read(dir, 0) {
		if err != nil {
			fmt.Fprintf(o.Err, "warning: %v\n", err)
			continue
		}
		e, err := event.Parse(rec.Data)
		if err == nil && !e.Time.Before(q.Since) && (q.Until.IsZero() || e.Time.Before(q.Until)) {
			f.Event(e)
		}
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
