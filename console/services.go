package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
)

const mostServices = 200 // of one page

type serviceRow struct {
	*model.ResolvedService
	Routes  int
	Total   int64
	Refused int64
}

type serviceList struct {
	Search string
	Rows   []serviceRow
	All    int // that match
	Span   span
	Spans  []choice
}

func (c *Console) services(w http.ResponseWriter, r *http.Request, s *session) error {
	snap, _ := c.o.Fleet.Model()
	o := serviceList{Search: r.URL.Query().Get("q"), Span: spanOf(r)}
	o.Spans = choicesOf(o.Span)
	now := time.Now()
	q := query.Query{From: now.Add(-o.Span.Length), To: now, Where: both(query.Prefix{Field: query.Service}, query.Not{Of: arrived})}
	all, err := c.o.Events.Count(r.Context(), q, query.Service, query.MaxTop)
	if err != nil {
		return err
	}
	q.Where = both(q.Where, refusals())
	refused, err := c.o.Events.Count(r.Context(), q, query.Service, query.MaxTop)
	if err != nil {
		return err
	}
	routes := map[string]int{}
	for i := range snap.Routes {
		routes[snap.Routes[i].Service]++
	}
	for i := range snap.Services {
		one := &snap.Services[i]
		if !found(o.Search, one.Name, one.Owner, strings.Join(one.Data, " ")) {
			continue
		}
		if o.All++; len(o.Rows) < mostServices {
			o.Rows = append(o.Rows, serviceRow{one, routes[one.Name] + len(one.Serve), countFor(all, one.Name), countFor(refused, one.Name)})
		}
	}
	c.show(w, r, s, http.StatusOK, "services", "Services", &o)
	return nil
}

// arrived is what the proxy of the called recorded. Who called, the edge or another sidecar, has recorded the same request, so that what is not of it
// is each request once; of it is who called whom in the mesh.
var arrived = query.Is{Field: query.Side, Value: event.SideInbound.String()} //nolint:gochecknoglobals // constant

// found tells whether any of the texts says what is looked for.
func found(what string, texts ...string) bool {
	what = strings.ToLower(strings.TrimSpace(what))
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), what) })
}

func countFor(n *query.Counts, value string) int64 {
	for _, one := range n.Top {
		if one.Value == value {
			return one.Count
		}
	}
	return 0
}

type routeRow struct {
	*model.ResolvedRoute
	Total   int64
	Refused int64
}

type servicePage struct {
	*model.ResolvedService
	Span         span
	Spans        []choice
	Chart        *chart
	Routes       []routeRow
	Seen         []query.Count // callers
	Undeclared   []string      // of these, who is no declared caller
	Certificates []Certificate
}

func (c *Console) service(w http.ResponseWriter, r *http.Request, s *session) error {
	snap, _ := c.o.Fleet.Model()
	i := slices.IndexFunc(snap.Services, func(one model.ResolvedService) bool { return one.Name == r.PathValue("name") })
	if i < 0 {
		return &pageError{http.StatusNotFound, "The model in force has no service of that name."}
	}
	o := servicePage{ResolvedService: &snap.Services[i], Span: spanOf(r)}
	o.Spans = choicesOf(o.Span)
	if err := c.usage(r, snap, &o); err != nil {
		return err
	}
	for _, cert := range c.o.Fleet.State(r.Context()).Certificates {
		if cert.Name == o.ID && o.ID != "" {
			o.Certificates = append(o.Certificates, cert)
		}
	}
	c.show(w, r, s, http.StatusOK, "service", o.Name, &o)
	return nil
}

// usage asks the store what of a service is used, and by whom.
func (c *Console) usage(r *http.Request, snap *model.Snapshot, o *servicePage) error {
	now := time.Now()
	q := query.Query{From: now.Add(-o.Span.Length), To: now, Where: query.Is{Field: query.Service, Value: o.Name}}
	if q.Validate() != nil {
		return &pageError{http.StatusNotFound, "No event can be of a service of that name."}
	}
	of := q.Where
	for _, part := range []struct {
		routes []model.ResolvedRoute
		where  query.Expr
	}{{snap.Routes, both(of, query.Not{Of: arrived})}, {o.Serve, both(of, arrived)}} {
		q.Where = part.where
		rows, err := c.routesOf(r.Context(), q, o.Name, part.routes)
		if err != nil {
			return err
		}
		o.Routes = append(o.Routes, rows...)
	}
	q.Where = both(of, query.Not{Of: arrived})
	series, err := c.o.Events.Histogram(r.Context(), q, o.Span.Step, query.Outcome, 8)
	if err != nil {
		return err
	}
	o.Chart = chartOf(series)
	q.Where = both(of, arrived, query.Prefix{Field: query.Caller})
	seen, err := c.o.Events.Count(r.Context(), q, query.Caller, 50)
	if err != nil {
		return err
	}
	for _, n := range seen.Top {
		name := n.Value[strings.LastIndexByte(n.Value, '/')+1:]
		o.Seen = append(o.Seen, query.Count{Value: name, Count: n.Count})
		if name != "edge" && !slices.Contains(o.Callers, name) {
			o.Undeclared = append(o.Undeclared, name)
		}
	}
	return nil
}

// routesOf counts how often the routes of a service were asked for.
func (c *Console) routesOf(ctx context.Context, q query.Query, service string, routes []model.ResolvedRoute) (out []routeRow, err error) {
	all, err := c.o.Events.Count(ctx, q, query.Route, query.MaxTop)
	if err != nil {
		return nil, err
	}
	q.Where = both(q.Where, refusals())
	refused, err := c.o.Events.Count(ctx, q, query.Route, query.MaxTop)
	if err != nil {
		return nil, err
	}
	for i := range routes {
		if routes[i].Service == service {
			out = append(out, routeRow{&routes[i], countFor(all, routes[i].ID), countFor(refused, routes[i].ID)})
		}
	}
	return out, nil
}
