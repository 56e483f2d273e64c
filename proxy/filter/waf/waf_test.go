package waf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// standard is one compiler for all tests here: compiling is what takes long.
var standard = sync.OnceValues(func() (*Compiler, error) { return NewCompiler(Options{}) })

func compiler(tb testing.TB) *Compiler {
	tb.Helper()
	c, err := standard()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func filter(tb testing.TB, w model.WAF) *Filter {
	tb.Helper()
	f, err := compiler(tb).Filter(model.ResolvedRoute{ID: "r", WAF: w, Body: 1 << 20}, model.ResolvedService{})
	if err != nil {
		tb.Fatal(err)
	}
	return f.(*Filter)
}

func post(content, body string) *proxy.Request {
	r := &proxy.Request{
		ID: "1", Method: "POST", Scheme: "https", Host: "shop.example", Path: "/notes", Proto: "HTTP/1.1",
		Client: netip.MustParseAddr("203.0.113.9"), Trail: []event.Stage{{Name: event.StageInspect}},
		Body: proxy.NewBody(strings.NewReader(body), int64(len(body)), 1<<20),
	}
	r.Header.Add("Host", "shop.example")
	r.Header.Add("User-Agent", "Mozilla/5.0")
	r.Header.Add("Accept", "*/*")
	r.Header.Add("Content-Type", content)
	r.Header.Add("Content-Length", fmt.Sprint(len(body)))
	return r
}

func get(query string) *proxy.Request {
	r := post("", "")
	r.Method, r.RawQuery, r.Path = "GET", query, "/search"
	r.Header.Del("Content-Type")
	r.Header.Del("Content-Length")
	return r
}

const (
	form  = "application/x-www-form-urlencoded"
	sqli  = "1%27%20UNION%20SELECT%20password%20FROM%20users%20--%20"
	parts = "multipart/form-data; boundary=XX"
)

func TestFilter(t *testing.T) {
	file := "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%s\"\r\n\r\nhello\r\n--XX--\r\n"
	exclude := func(x model.Exclusion) model.WAF {
		x.Reason = "test"
		return model.WAF{Exclude: []model.Exclusion{x}}
	}
	for name, tc := range map[string]struct {
		waf    model.WAF
		r      *proxy.Request
		denied string // slug
		rule   string // a rule among the reasons
	}{
		"benign":                {r: get("page=2")},
		"attack":                {r: get("comment=" + sqli), denied: "attack-detected", rule: "942100"},
		"detect":                {waf: model.WAF{Mode: "detect"}, r: get("comment=" + sqli), rule: "942100"},
		"threshold":             {waf: model.WAF{Threshold: 1000}, r: get("comment=" + sqli), rule: "942100"},
		"paranoia":              {waf: model.WAF{Paranoia: 4}, r: get("a=%3C%3E%27%22%60%7C%3B%28"), denied: "attack-detected"},
		"malformed JSON":        {r: post("application/json", `{"a":`), denied: "attack-detected", rule: "200002"},
		"malformed vendor JSON": {r: post("application/vnd.api+json", `{"a":`), denied: "attack-detected", rule: "200002"},
		"malformed multipart":   {r: post(parts, "--XX\r\nbroken"), denied: "attack-detected", rule: "200002"},
		"multipart file":        {r: post(parts, fmt.Sprintf(file, "a.txt"))},
		"multipart PHP file":    {r: post(parts, fmt.Sprintf(file, "a.php")), denied: "attack-detected", rule: "933110"},
		"multipart extended name": {
			r:      post(parts, strings.Replace(fmt.Sprintf(file, "a.txt"), "filename=", "filename*=utf-8''b.php; filename=", 1)),
			denied: "attack-detected", rule: "200003",
		},
		"multipart attack": {
			r:      post(parts, "--XX\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n1' UNION SELECT password FROM users -- \r\n--XX--\r\n"),
			denied: "attack-detected", rule: "942100",
		},
		"XML attack":     {r: post("text/xml", "<a><b>1' UNION SELECT password FROM users -- </b></a>"), denied: "attack-detected", rule: "942100"},
		"JSON as XML":    {r: post("text/xml", `{"q":"1\u0027 union s\u0065lect passw\u006frd from users-- -"}`), denied: "attack-detected", rule: "200002"},
		"JSON after XML": {r: post("text/xml", `<a/>{"q":"\u0027 union s\u0065lect passw\u006frd from users-- -"}`), denied: "attack-detected", rule: "200002"},
		"XML entities":   {r: post("text/xml", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///srv/x">]><a>&x;</a>`), denied: "attack-detected", rule: "200002"},
		"XML":            {r: post("text/xml", "\ufeff<?xml version=\"1.0\"?>\n<!DOCTYPE html>\n<a b=\"c\">d<br>e</a>\n")},
		"multipart preamble": {
			r:      post(parts, "{\"q\":\"\\u0027 union s\\u0065lect\"}\r\n--XX\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\na\r\n--XX--\r\n"),
			denied: "attack-detected", rule: "200003",
		},
		"multipart epilogue": {
			r:      post(parts, "--XX\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\na\r\n--XX--\r\n--XX\r\nContent-Disposition: form-data; name=\"r\"\r\n\r\n1' UNION\r\n--XX--"),
			denied: "attack-detected", rule: "200003",
		},
		"multipart":      {r: post(parts, "\r\n--XX\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\na\r\n--XX--\r\n")},
		"content type":   {r: post("application/x-unknown", "hello"), denied: "attack-detected", rule: "920420"},
		"many arguments": {r: get(strings.Repeat("a=1&", 1001)), denied: "attack-detected", rule: "200004"},
		"rule excluded for another argument": {
			waf: exclude(model.Exclusion{Tag: "attack-sqli", Target: "ARGS:note"}), r: get("comment=" + sqli), denied: "attack-detected", rule: "942100",
		},
		"tag excluded for the argument": {
			waf: exclude(model.Exclusion{Tag: "attack-sqli", Target: "ARGS:comment"}), r: get("comment=" + sqli),
		},
		"tag excluded":              {waf: exclude(model.Exclusion{Tag: "attack-sqli"}), r: get("comment=" + sqli)},
		"rule excluded, others see": {waf: exclude(model.Exclusion{Rule: 942100}), r: get("comment=" + sqli), denied: "attack-detected", rule: "942190"},
		"body too large":            {waf: model.WAF{Body: 8}, r: post(form, "a=123456789"), denied: "content-too-large"},
		"body too large, detect":    {waf: model.WAF{Body: 8, Mode: "detect"}, r: post(form, "a=123456789"), denied: "content-too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			err := filter(t, tc.waf).Filter(t.Context(), tc.r)
			reasons := tc.r.Trail[0].Reasons
			if denial, ok := errors.AsType[*proxy.Denial](err); ok {
				reasons = denial.Reasons
				if denial.Kind.Slug != tc.denied {
					t.Errorf("refused with %q, want %q: %v", denial.Kind.Slug, tc.denied, reasons)
				}
			} else if err != nil || tc.denied != "" {
				t.Errorf("got %v, want %q", err, tc.denied)
			}
			found := func(r event.Reason) bool { return r.Policy == tc.rule }
			if tc.rule != "" && !slices.ContainsFunc(reasons, found) {
				t.Errorf("rule %s is not among %v", tc.rule, reasons)
			}
			if tc.rule == "" && tc.denied == "" && len(reasons) > 0 {
				t.Errorf("unexpected reasons %v", reasons)
			}
		})
	}
}

// TestReasonsHoldNoValues sends a secret in every place that a rule may quote.
func TestReasonsHoldNoValues(t *testing.T) {
	const secret = "hunter2secret"
	attack := "1' UNION SELECT " + secret + " FROM users --"
	for name, r := range map[string]*proxy.Request{
		"query":  get("q=" + strings.ReplaceAll(strings.ReplaceAll(attack, " ", "%20"), "'", "%27")),
		"name":   get(strings.ReplaceAll(attack, " ", "%20") + "=1"),
		"JSON":   post("application/json", `{"q":"`+attack+`"}`),
		"form":   post(form, `{"password":"`+secret+`","q":"`+attack+`"}`),
		"XML":    post("text/xml", "<a>"+attack+"</a>"),
		"broken": post("application/json", `{"password":"`+secret),
		"type":   post("application/"+secret, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			r.Header.Set("User-Agent", "${jndi:ldap://"+secret+"/a}")
			r.Header.Add("X-"+"Note", attack)
			err := filter(t, model.WAF{Paranoia: 4, Threshold: 10000, Mode: "detect"}).Filter(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Trail[0].Reasons) == 0 {
				t.Error("nothing was found")
			}
			for _, reason := range r.Trail[0].Reasons {
				if strings.Contains(fmt.Sprint(reason), secret) {
					t.Errorf("the secret stands in %v", reason)
				}
			}
		})
	}
}

func TestReasonData(t *testing.T) {
	r := get("comment=" + sqli)
	var denial *proxy.Denial
	if err := filter(t, model.WAF{}).Filter(t.Context(), r); !errors.As(err, &denial) {
		t.Fatal(err)
	}
	i := slices.IndexFunc(denial.Reasons, func(r event.Reason) bool { return r.Policy == "942100" })
	got := denial.Reasons[i]
	if got.Code != "waf-rule" || got.Text != "SQL Injection Attack Detected via libinjection" ||
		got.Data["target"] != "ARGS:comment" || got.Data["severity"] != "critical" || got.Data["score"] == "0" {
		t.Errorf("got %+v", got)
	}
}

func TestBodyStaysForForwarding(t *testing.T) {
	const body = `{"note":"please ring twice"}`
	r := post("application/json", body)
	if err := filter(t, model.WAF{}).Filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got, whole := r.Body.Buffered(); !whole || string(got) != body {
		t.Errorf("the body is %q, whole %t", got, whole)
	}
}

// TestNothingOnDisk proves that a large body and an uploaded file leave no trace in the temporary directory.
func TestNothingOnDisk(t *testing.T) {
	f := filter(t, model.WAF{Mode: "detect"})
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	big := "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n" +
		strings.Repeat("x", 600<<10) + "\r\n--XX--\r\n"
	x, _, err := f.Open(t.Context(), post(parts, big), []byte(big))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("found %v, %v", entries, err)
	}
}

type broken struct{}

func (broken) Inspect(context.Context, *proxy.Request, []byte) (Verdict, error) {
	return Verdict{}, errors.New("broken")
}

func TestErrorIsNoVerdict(t *testing.T) {
	err := (&Filter{engine: broken{}, detect: true, body: 10}).Filter(t.Context(), get(""))
	var denial *proxy.Denial
	if err == nil || errors.As(err, &denial) {
		t.Errorf("got %v, want an error that is no denial", err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	e := &corazaEngine{waf: filter(t, model.WAF{}).engine.(*corazaEngine).waf} // no rule index: a verdict panics
	_, err := e.Inspect(t.Context(), get("comment="+sqli), nil)
	if err == nil || strings.Contains(err.Error(), "SELECT") {
		t.Errorf("got %v", err)
	}
}

func TestCancelledIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := filter(t, model.WAF{}).Filter(ctx, get("")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
