package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// hostile are texts that would run in a page that does not write them as words.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</title></textarea></style></script><script>alert(1)</script>`,
	`javascript:alert(1)`, `" autofocus onfocus="alert(1)`, `' hx-get='/x' hx-trigger='load`, `{{.Token}}`, "`${alert(1)}`", `<a href="javascript:alert(1)">x</a>`,
	`<!--><script>alert(1)</script>-->`, "\u2028<b>\u2029", `&lt;script&gt;`, "a\r\nevent: over\r\ndata: x\r\n\r\n", `<template><script>alert(1)</script></template>`, `<math><mi//xlink:href="data:x,<script>alert(1)</script>">`,
	`<base href="https://evil.example/">`, `<form action="https://evil.example/">`, `<meta http-equiv=refresh content="0;url=https://evil.example">`, `hx-on:load=alert(1)`,
}

// TestHostileTexts puts them into every text of events, the model and questions, and reads every page as a browser does.
func TestHostileTexts(t *testing.T) {
	now := time.Now()
	var evil []*event.Event
	for i, s := range hostile {
		id := event.NewID(now.Add(-time.Duration(i) * time.Second))
		e := &event.Event{
			Time: now.Add(-time.Duration(i) * time.Second), ID: id, TraceID: strings.Repeat("a", 32), Fleet: "shop", Snapshot: s, Listener: s, Method: s, Scheme: "https", Host: s, Path: s, Query: s,
			Proto: "HTTP/1.1", UserAgent: s, Referer: s, Headers: []event.Header{{Name: s, Value: s}}, Client: s, User: &event.User{Provider: s, Subject: s, Roles: []string{s}},
			Workload: "spiffe://shop.example/service/" + s, Route: s, Service: s, Template: s, Problem: s, Aborted: s, Upstream: s,
			Trail: []event.Stage{{Name: s, Outcome: event.OutcomeDeny, Reasons: []event.Reason{{Code: s, Text: s, Policy: s, Position: s, Data: map[string]string{s: s}}}}},
		}
		act := &event.Event{Time: e.Time, ID: event.NewID(e.Time), Fleet: "shop", Client: s, Act: &event.Act{Kind: event.KindOther, Who: s, Role: s, Object: s, Reason: s, Text: s, Proxy: s, Outcome: event.Failed}}
		evil = append(evil, e, act)
	}
	shop, c := newShop(t, evil...)
	for _, s := range hostile {
		shop.snap.Services = append(shop.snap.Services, model.ResolvedService{Name: s, Owner: s, Data: []string{s}, Callers: []string{s}, Address: s, ID: s, APIFile: s})
		shop.snap.Policies = append(shop.snap.Policies, model.PolicyFile{Name: s, Text: s})
		shop.snap.Roles = append(shop.snap.Roles, model.ResolvedRole{Name: s, Includes: []string{s, s}})
		shop.state.Proxies = append(shop.state.Proxies, Proxy{Name: s, Instance: s, Version: s, Problem: s})
		shop.state.Certificates = append(shop.state.Certificates, Certificate{Name: s, Expires: now})
	}
	slices.SortFunc(shop.snap.Services, func(a, b model.ResolvedService) int { return strings.Compare(a.Name, b.Name) })
	b := newBrowser(t, c)
	b.as(c, Viewer)
	paths := []string{"/", "/events", "/map", "/map?diff=1", "/services", "/policies", "/proxies", "/live"}
	for _, e := range evil {
		paths = append(paths, "/request/"+e.ID)
	}
	for _, s := range hostile {
		quoted := strings.NewReplacer("%", "%25", "&", "%26", "#", "%23", "+", "%2B", " ", "%20", "\r", "%0D", "\n", "%0A", "\u2028", "%E2%80%A8", "\u2029", "%E2%80%A9", `"`, "%22", "<", "%3C", ">", "%3E", "/", "%2F", "?", "%3F", "`", "%60", "{", "%7B", "}", "%7D", "$", "%24", "'", "%27", ";", "%3B").Replace(s)
		paths = append(paths, "/events?q="+quoted, "/events?key="+quoted+"&at=1", "/map?focus="+quoted, "/map?blast="+quoted, "/map?q="+quoted, "/map?cluster="+quoted, "/services/"+quoted, "/services?q="+quoted, "/live?q="+quoted,
			"/policies?as="+quoted+"&role="+quoted+"&method="+quoted+"&target="+quoted, "/policies?target=/"+quoted+"&as="+quoted, "/request/"+quoted, "/?span="+quoted, "/sign-in?again="+quoted, "/"+quoted)
	}
	for _, path := range paths {
		a := b.do("GET", path, "")
		if a.StatusCode >= 500 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
		if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			harmless(t, path, a.body)
		}
	}
	f := &follower{since: now.Add(-time.Hour), seen: map[string]time.Time{}}
	data, err := c.news(t.Context(), f, now)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.TrimRight(string(data), "\n")) {
		if line = strings.TrimRight(line, "\n"); line != "" && line != "event: rows" && !strings.HasPrefix(line, "data: ") && !strings.HasPrefix(line, "event: omitted") || strings.Contains(line, "\r") {
			t.Errorf("a line of the stream: %q", line)
		}
	}
	harmless(t, "stream", "<table>"+strings.ReplaceAll(strings.ReplaceAll(string(data), "event: rows\n", ""), "data: ", "")+"</table>")
}

// harmless parses a page and looks for what only an injected text can have brought.
func harmless(t *testing.T, path, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	for z.Next() != html.ErrorToken {
		token := z.Token()
		if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
			continue
		}
		switch token.Data {
		case "img", "math", "base", "template", "iframe", "object", "style":
			t.Errorf("%s: a <%s>", path, token.Data)
		}
		for _, at := range token.Attr {
			value := strings.ToLower(strings.TrimSpace(at.Val))
			switch {
			case strings.HasPrefix(at.Key, "on"), strings.HasPrefix(at.Key, "hx-on"), at.Key == "style", at.Key == "http-equiv":
				t.Errorf("%s: <%s %s=%q>", path, token.Data, at.Key, at.Val)
			case at.Key == "autofocus" && token.Data != "input":
				t.Errorf("%s: <%s autofocus>", path, token.Data)
			case (at.Key == "href" || at.Key == "src" || at.Key == "action" || at.Key == "hx-get") && !strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "#"):
				t.Errorf("%s: <%s %s=%q>", path, token.Data, at.Key, at.Val)
			case token.Data == "script" && at.Key == "src" && !strings.HasPrefix(value, "/static/"):
				t.Errorf("%s: a script from %q", path, at.Val)
			}
		}
		if token.Data == "script" && len(token.Attr) == 0 {
			t.Errorf("%s: a script within the page", path)
		}
	}
}
