package query_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/store/query"
)

func TestParse(t *testing.T) {
	is := func(f query.Field, v string) query.Expr { return query.Is{Field: f, Value: v} }
	orders, denied := is(query.Service, "orders"), is(query.Outcome, "denied")
	for text, want := range map[string]query.Expr{
		"":                              nil,
		" \t ":                          nil,
		"service:orders":                orders,
		"SERVICE:orders":                orders,
		`service:"orders"`:              orders,
		"service:orders outcome:denied": query.And{orders, denied},
		"service:orders and outcome:denied or timeout": query.Or{query.And{orders, denied}, query.Text{Words: "timeout"}},
		"service:orders (outcome:denied or timeout)":   query.And{orders, query.Or{denied, query.Text{Words: "timeout"}}},
		"-service:orders":                    query.Not{Of: orders},
		"not not service:orders":             query.Not{Of: query.Not{Of: orders}},
		"-(service:orders)":                  query.Not{Of: orders},
		`"some \"text\" \\ here"`:            query.Text{Words: `some "text" \ here`},
		`"or" nothing`:                       query.And{query.Text{Words: "or"}, query.Text{Words: "nothing"}},
		"path:/orders/*":                     query.Prefix{Field: query.Path, Value: "/orders/"},
		`path:"/a b"*`:                       query.Prefix{Field: query.Path, Value: "/a b"},
		"user:*":                             query.Prefix{Field: query.User},
		`user:""`:                            is(query.User, ""),
		"path:/a:b":                          is(query.Path, "/a:b"),
		"status:404":                         query.Number{Field: query.Status, Value: 404},
		"status:>=500":                       query.Number{Field: query.Status, Op: query.AtLeast, Value: 500},
		"duration:<1.5s":                     query.Number{Field: query.Duration, Op: query.Less, Value: 1_500_000_000},
		"time:>2026-11-22":                   query.Number{Field: query.Time, Op: query.More, Value: 1795305600_000000000},
		"time:<=2026-11-22T01:00:00.5+01:00": query.Number{Field: query.Time, Op: query.AtMost, Value: 1795305600_500000000},
		"caller:web kind:connection":         query.And{is(query.Caller, "web"), is(query.Kind, "connection")},
		"-a-b":                               query.Not{Of: query.Text{Words: "a-b"}},
		"- x":                                query.And{query.Text{Words: "-"}, query.Text{Words: "x"}},
		"österreich":                         query.Text{Words: "österreich"},
		`a=b "outcome=denied"`:               query.And{query.Text{Words: "a=b"}, query.Text{Words: "outcome=denied"}},
	} {
		got, err := query.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestParseTells(t *testing.T) {
	for text, want := range map[string]string{
		"servce:orders":                     `column 1: there is no field "servce"; choose one of time, duration`,
		"ö outcome:no":                      `column 11: no event has the outcome "no"; choose one of allowed, denied`,
		"service:":                          `column 9: a value of service is missing; write service:* for any, service:"" for none`,
		"service: orders":                   "column 9: a value of service is missing",
		"outcome = denied":                  "column 9: a comparison without a colon; write field:value",
		"service:orders status>=500":        "column 22: a comparison without a colon",
		"status:many":                       `column 8: "many" is no status; write a number such as 404`,
		"status:4*":                         "is no status",
		"status:" + strings.Repeat("x", 99): `"xxx`,
		"duration:5":                        "write a duration such as 250ms",
		"time:yesterday":                    "write a day such as 2026-11-22",
		"user:>alice":                       "column 6: user is text and has no order",
		"(a":                                "column 1: this parenthesis is not closed",
		"a)":                                "column 2: a closing parenthesis without an opening one",
		`"a`:                                "column 1: this quote is not closed",
		`a"b"`:                              "column 2: '\"' in the middle of a word; put the whole value in double quotes",
		`"a"b`:                              "column 4: something stands right behind a closing quote",
		"or a":                              "column 1: a term is missing before this",
		"a or":                              "column 5: a term is missing here",
		"a and or b":                        "column 7: a term is missing before this",
		"not":                               "column 4: a term is missing here",
		"()":                                "column 2: a term is missing here",
		"path:/*/x":                         "column 6: * stands for any rest and at the end only",
		"abc*":                              "column 1: * behind a text",
		`""`:                                "column 1: the text to look for is empty",
		"\"a\nb\"":                          "control characters",
		"\xff":                              "it is not UTF-8",
		strings.Repeat("(", 40) + "a":       "nested more than 32 deep",
		strings.Repeat("not ", 40) + "a":    "nested more than 32 deep",
		strings.Repeat("a ", 200):           "more than 128 terms",
		strings.Repeat("a", 5000):           "it has 5000 bytes, more than 4096",
	} {
		x, err := query.Parse(text)
		var syntax *query.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %#v, %v; want %s", text, x, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`service:orders outcome:denied user:alice "some text" status:>=500`, `-(path:/a* or not time:<2026-11-22) caller:""`,
		`duration:>1.5s and kind:request`, `"a\\b\"c" OR x`, `user:"é "*`, `time:>1500-01-01 time:<9999-12-31`, "((", "- -", `status:"5"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := query.Parse(text)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		q := query.Query{Where: x}
		if err := q.Validate(); err != nil {
			t.Fatalf("%q parses and is refused: %v", text, err)
		}
		written := query.String(x)
		again, err := query.Parse(written)
		if len(written) > 4096 {
			return
		}
		if err != nil || !reflect.DeepEqual(x, again) {
			t.Errorf("%q\nwritten %q\n%#v\n%#v\n%v", text, written, x, again, err)
		}
	})
}
