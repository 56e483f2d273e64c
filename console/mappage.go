package console

import (
	"bytes"
	"cmp"
	"context"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/topology"
	"github.com/palisade-security/palisade/topology/draw"
)

const (
	mostFolded = 50_000 // events that one map is made of, the newest
	foldPage   = 5_000
	mostBack   = 48 // spans that the time slider goes back
	mostFound  = 20
	mostChange = 100
)

type mapPage struct {
	Span     span
	Spans    []choice
	Back     int // spans
	Most     int
	From, To time.Time
	Events   int64
	Cut      bool // there were more events
	Search   string
	Found    []string
	Focus    string
	Steps    int
	Cluster  string // that is looked into
	Blast    *topology.Blast
	Taken    string
	Compare  bool
	Diff     *topology.Diff
	Picture  template.HTML
	Drawn    drawn
	Analysis *topology.Analysis
	Services int
	path     url.Values
}

// showMap draws who calls whom in a time.
func (c *Console) showMap(w http.ResponseWriter, r *http.Request, s *session) error {
	v := r.URL.Query()
	o := mapPage{Span: spanOf(r), Most: mostBack, Search: v.Get("q"), Focus: v.Get("focus"), Cluster: v.Get("cluster"), Taken: v.Get("blast"), Compare: v.Has("diff"), path: v}
	o.Spans = choicesOf(o.Span)
	o.Back = number(v.Get("back"), 0, mostBack)
	o.Steps = number(v.Get("steps"), 1, 3)
	o.To = time.Now().Add(-time.Duration(o.Back) * o.Span.Length)
	o.From = o.To.Add(-o.Span.Length)
	leave, err := c.alone(r)
	if err != nil {
		return err
	}
	defer leave()
	m, cut, err := c.observed(r.Context(), o.From, o.To)
	if err != nil {
		return err
	}
	o.Events, o.Cut = m.Events, cut
	o.Analysis = m.Analyse()
	if o.Taken != "" {
		if o.Blast, err = m.Blast(o.Taken); err != nil {
			return &pageError{http.StatusNotFound, "The map has no service of that name."}
		}
	}
	if o.Compare {
		before, _, err := c.observed(r.Context(), o.From.Add(-o.Span.Length), o.From)
		if err != nil {
			return err
		}
		o.Diff = topology.Compare(before, m)
		o.Diff.Edges, o.Diff.Nodes = o.Diff.Edges[:min(len(o.Diff.Edges), mostChange)], o.Diff.Nodes[:min(len(o.Diff.Nodes), mostChange)]
	}
	o.find(m)
	if err := o.draw(m); err != nil {
		return err
	}
	c.show(w, r, s, http.StatusOK, "map", "Map", &o)
	return nil
}

// number reads a small number; what is none is the least.
func number(text string, least, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return least
	}
	return min(max(n, least), most)
}

// observed folds the newest events of a time into what is declared. Cut tells whether there were more.
func (c *Console) observed(ctx context.Context, from, to time.Time) (m *topology.Map, cut bool, err error) {
	snap, fleet := c.o.Fleet.Model()
	f := topology.NewFold(topology.Declare(snap, fleet))
	q := query.Query{From: from, To: to, Where: query.Or{query.Is{Field: query.Kind, Value: query.KindRequest}, query.Is{Field: query.Kind, Value: query.KindConnection}}}
	var at query.Cursor
	for n := 0; n < mostFolded; n += foldPage {
		page, err := c.o.Events.Last(ctx, q, foldPage, at)
		if err != nil {
			return nil, false, err
		}
		for _, e := range page.Events {
			f.Event(e)
		}
		if at = page.Next; at.IsZero() {
			return f.Map(), false, nil
		}
	}
	return f.Map(), true, nil
}

// find looks for nodes by name, owner or data.
func (o *mapPage) find(m *topology.Map) {
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.Kind == topology.KindService {
			o.Services++
		}
		if o.Search != "" && len(o.Found) < mostFound && found(o.Search, n.Name, n.Owner, strings.Join(n.Data, " ")) {
			o.Found = append(o.Found, n.Name)
		}
	}
}

// draw makes the picture of as much as can be looked at.
func (o *mapPage) draw(m *topology.Map) error {
	if o.Focus == "" && o.Search != "" && len(o.Found) == 1 {
		o.Focus = o.Found[0]
	}
	if o.Focus != "" && m.Node(o.Focus) == nil {
		return &pageError{http.StatusNotFound, "The map has nothing of that name."}
	}
	part, about := focus(m, o.Focus, o.Cluster, o.Steps)
	o.Drawn = about
	var out bytes.Buffer
	if err := draw.Inline(&out, part, o.Analysis, o.Blast, func(name string) string {
		if about.Clustered && name != topology.EdgeNode {
			return o.With("cluster", name)
		}
		return o.With("focus", name)
	}); err != nil {
		return err
	}
	o.Picture = template.HTML(out.String()) //nolint:gosec // made by draw, which escapes every name
	return nil
}

// About is the box that the picture is about; empty: none more than others.
func (o *mapPage) About() string { return cmp.Or(o.Focus, o.Taken) }

// With is the address of this map with one thing else.
func (o *mapPage) With(key, value string) string {
	v := url.Values{"span": {o.Span.Name}, "back": {strconv.Itoa(o.Back)}}
	for _, keep := range []string{"blast", "diff", "steps"} {
		if o.path.Has(keep) {
			v.Set(keep, o.path.Get(keep))
		}
	}
	if value == "" {
		v.Del(key)
	} else {
		v.Set(key, value)
	}
	return "/map?" + v.Encode()
}
