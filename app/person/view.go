package person

import (
	"context"
	"slices"
	"time"

	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/query"
)

// Kept is where events are found as they are kept.
type Kept interface {
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
}

// View answers as what is kept does, for who may know the names: who asks for a name finds what is kept under its pseudonym, and reads the name.
type View struct {
	Of   Kept
	Book *Book
}

// Last is that of what is kept.
func (v View) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	q, err := v.Book.Asked(ctx, q)
	if err != nil {
		return nil, err
	}
	page, err := v.Of.Last(ctx, q, n, from)
	if err != nil {
		return nil, err
	}
	shown, err := v.Book.Show(ctx, page.Events)
	if err != nil {
		return nil, err
	}
	return &query.Page{Events: shown, Next: page.Next}, nil
}

// Count is that of what is kept. Under a name is what was recorded under it before there were pseudonyms, too.
func (v View) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	q, err := v.Book.Asked(ctx, q)
	if err != nil {
		return nil, err
	}
	counts, err := v.Of.Count(ctx, q, by, top)
	if err != nil {
		return nil, err
	}
	values := make([]string, len(counts.Top))
	for i := range values {
		values[i] = counts.Top[i].Value
	}
	if values, err = v.Book.ShowTexts(ctx, values); err != nil {
		return nil, err
	}
	out := &query.Counts{Total: counts.Total, Values: counts.Values}
	for i, value := range values {
		if at := slices.IndexFunc(out.Top, func(c query.Count) bool { return c.Value == value }); at >= 0 {
			out.Top[at].Count += counts.Top[i].Count
			out.Values--
			continue
		}
		out.Top = append(out.Top, query.Count{Value: value, Count: counts.Top[i].Count})
	}
	slices.SortStableFunc(out.Top, func(a, b query.Count) int { return int(min(max(b.Count-a.Count, -1), 1)) })
	return out, nil
}

// Histogram is that of what is kept.
func (v View) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	q, err := v.Book.Asked(ctx, q)
	if err != nil {
		return nil, err
	}
	series, err := v.Of.Histogram(ctx, q, step, by, top)
	if err != nil {
		return nil, err
	}
	values := make([]string, len(series.By))
	for i := range values {
		values[i] = series.By[i].Value
	}
	if values, err = v.Book.ShowTexts(ctx, values); err != nil {
		return nil, err
	}
	out := *series
	out.By = nil
	for i, value := range values {
		at := slices.IndexFunc(out.By, func(l query.Line) bool { return l.Value == value })
		if at < 0 {
			out.By = append(out.By, query.Line{Value: value, Counts: series.By[i].Counts})
			continue
		}
		sum := slices.Clone(out.By[at].Counts)
		for j, n := range series.By[i].Counts {
			sum[j] += n
		}
		out.By[at].Counts = sum
	}
	return &out, nil
}

// Asked is a query with what stands for the names in it, beside the names.
func (b *Book) Asked(ctx context.Context, q query.Query) (query.Query, error) {
	if q.Where == nil {
		return q, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return q, err
	}
	h := b.hider(ctx)
	q.Where = h.expr(q.Where)
	return q, h.failed
}

// AskedFor is Asked of a query that goes on to mean the users whom it names: their keys are made if there are none.
func (b *Book) AskedFor(ctx context.Context, q query.Query) (query.Query, error) {
	names := map[string]struct{}{}
	users(q.Where, names)
	b.mu.Lock()
	err := b.refresh(ctx)
	if err == nil {
		err = b.welcome(ctx, names)
	}
	b.mu.Unlock()
	if err != nil {
		return q, err
	}
	return b.Asked(ctx, q)
}

// users collects the users whom a query names.
func users(x query.Expr, into map[string]struct{}) {
	switch x := x.(type) {
	case query.And:
		for _, one := range x {
			users(one, into)
		}
	case query.Or:
		for _, one := range x {
			users(one, into)
		}
	case query.Not:
		users(x.Of, into)
	case query.Is:
		if x.Field == query.User && x.Value != "" {
			into[x.Value] = struct{}{}
		}
	case query.Prefix, query.Number, query.Text:
	}
}

// expr is a tree with what stands for names beside them.
func (h *hider) expr(x query.Expr) query.Expr {
	switch x := x.(type) {
	case query.And:
		return query.And(h.exprs(x))
	case query.Or:
		return query.Or(h.exprs(x))
	case query.Not:
		return query.Not{Of: h.expr(x.Of)}
	case query.Is:
		if now := h.asked(x.Field, x.Value); now != x.Value {
			return query.Or{x, query.Is{Field: x.Field, Value: now}}
		}
	case query.Prefix:
		if now := h.asked(x.Field, x.Value); now != x.Value {
			return query.Or{x, query.Prefix{Field: x.Field, Value: now}}
		}
	case query.Text:
		if now := inText(x.Words, h.known); now != x.Words {
			return query.Or{x, query.Text{Words: now}}
		}
	case query.Number:
	}
	return x
}

func (h *hider) exprs(all []query.Expr) []query.Expr {
	out := make([]query.Expr, len(all))
	for i := range all {
		out[i] = h.expr(all[i])
	}
	return out
}

// asked is the value of a field as it is kept.
func (h *hider) asked(f query.Field, value string) string {
	switch f {
	case query.Path:
		return inPath(value, h.known)
	case query.User:
		if p := h.person(value); p != nil {
			return p.Pseudonym()
		}
		return inText(value, h.known)
	default: // the others name nobody
		return value
	}
}

// Means tells whether a query means, beside the users whom it names, what is kept under their pseudonyms.
func (b *Book) Means(ctx context.Context, x query.Expr) (bool, error) {
	named := map[string]struct{}{}
	users(x, named)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return false, err
	}
	for name := range named {
		if from, end, _, found := keyring.Pseudonyms(name); found && from == 0 && end == len(name) {
			continue
		}
		p, err := b.named(ctx, name)
		if err != nil || p == nil {
			return false, err
		}
		if _, there := named[p.Pseudonym()]; !there {
			return false, nil
		}
	}
	return true, nil
}

// Names tells whether a query names a user.
func Names(x query.Expr, user string) bool {
	into := map[string]struct{}{}
	users(x, into)
	_, there := into[user]
	return there
}

// ShowQuery is a query that was kept as AskedFor has it, as it was asked.
func (b *Book) ShowQuery(ctx context.Context, text string) (string, error) {
	where, err := query.Parse(text)
	if err != nil || where == nil {
		return text, err
	}
	s, done, err := b.shower(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return query.String(s.expr(where)), s.failed
}

// expr is a tree with names in place of pseudonyms; what is the same then stands there once.
func (s *shower) expr(x query.Expr) query.Expr {
	switch x := x.(type) {
	case query.And:
		return query.And(s.exprs(x))
	case query.Or:
		return query.Or(slices.CompactFunc(s.exprs(x), func(a, b query.Expr) bool { return query.String(a) == query.String(b) }))
	case query.Not:
		return query.Not{Of: s.expr(x.Of)}
	case query.Is:
		return query.Is{Field: x.Field, Value: shown(x.Value, s.person)}
	case query.Prefix:
		return query.Prefix{Field: x.Field, Value: shown(x.Value, s.person)}
	case query.Text:
		return query.Text{Words: shown(x.Words, s.person)}
	case query.Number:
	}
	return x
}

func (s *shower) exprs(all []query.Expr) []query.Expr {
	out := make([]query.Expr, len(all))
	for i := range all {
		out[i] = s.expr(all[i])
	}
	return out
}
