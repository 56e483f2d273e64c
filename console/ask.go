package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

// span is a length of time that pages can be asked for.
type span struct {
	Name, Words string
	Length      time.Duration
	Step        time.Duration // of its charts
}

// spans lists them; the first is the default.
func spans() []span {
	return []span{
		{"1h", "1 hour", time.Hour, time.Minute},
		{"15m", "15 minutes", 15 * time.Minute, 15 * time.Second},
		{"6h", "6 hours", 6 * time.Hour, 5 * time.Minute},
		{"24h", "24 hours", 24 * time.Hour, 20 * time.Minute},
		{"7d", "7 days", 7 * 24 * time.Hour, 2 * time.Hour},
		{"30d", "30 days", 30 * 24 * time.Hour, 12 * time.Hour},
	}
}

// spanOf is the one that a request names.
func spanOf(r *http.Request) span {
	all := spans()
	for _, s := range all {
		if s.Name == r.URL.Query().Get("span") {
			return s
		}
	}
	return all[0]
}

// choice is what a form offers.
type choice struct {
	Value, Words string
	Chosen       bool
}

func choicesOf(chosen span) []choice {
	var out []choice
	for _, s := range spans() {
		out = append(out, choice{s.Name, s.Words, s.Name == chosen.Name})
	}
	return out
}

// mistake is a query that cannot be understood, as the page shows it.
type mistake struct {
	Text  string
	Hint  string
	Under string // blanks and a mark below the place; empty: no place
}

// understand reads what somebody wrote.
func understand(text string) (query.Expr, *mistake) {
	x, err := query.Parse(text)
	var syntax *query.SyntaxError
	switch {
	case err == nil:
		return x, nil
	case errors.As(err, &syntax):
		return nil, &mistake{Text: syntax.Found, Hint: syntax.Hint, Under: strings.Repeat(" ", max(0, min(syntax.Column, 4<<10)-1)) + "▲"}
	}
	return nil, &mistake{Text: err.Error()}
}

// both joins conditions; nil ones are none.
func both(parts ...query.Expr) query.Expr {
	var out query.And
	for _, p := range parts {
		if p != nil {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// requests are those that came from outside; what happens behind them is not counted again.
func requests() query.Expr {
	return query.And{query.Is{Field: query.Kind, Value: query.KindRequest}, query.Is{Field: query.Side, Value: query.SideEdge}}
}

// refusals are what was not let through.
func refusals() query.Expr {
	return query.Or{query.Is{Field: query.Outcome, Value: query.Denied}, query.Is{Field: query.Outcome, Value: query.Error}}
}
