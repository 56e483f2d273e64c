package event_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
)

const (
	jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.c2lnbmF0dXJl"
	pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
)

func TestText(t *testing.T) {
	r := event.NewRedactor([]string{"iban"})
	for _, c := range [][2]string{
		{"", ""},
		{"nothing to see: 42 orders, id=7", "nothing to see: 42 orders, id=7"},
		{"token " + jwt + " expired", "token [redacted] expired"},
		{"(" + jwt + ")", "([redacted])"},
		{"Authorization: Bearer abc.def", "Authorization: [redacted]"},
		{"sent bEaReR abcdef0123 twice", "sent bEaReR [redacted] twice"},
		{"a bearer token is missing", "a bearer token is missing"},
		{"Basic dXNlcjpwYXNz", "Basic [redacted]"},
		{"token: audience is wrong", "token: audience is wrong"},
		{"paid with 4111 1111 1111 1111, thanks", "paid with [redacted], thanks"},
		{"4111-1111-1111-1111", "[redacted]"},
		{"4111111111111111", "[redacted]"},
		{"12 4111111111111111 9", "12 [redacted] 9"},
		{"4111111111111112", "4111111111111112"},
		{"a4111111111111111", "a4111111111111111"},
		{"key " + pem + " end", "key [redacted] end"},
		{"-----BEGIN PRIVATE KEY-----\nMII", "[redacted]"},
		{"-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"},
		{"https://user:hunter2@host/x", "https://[redacted]@host/x"},
		{`{"user":"bob","password":"hun\"ter2","n":1}`, `{"user":"bob","password":[redacted],"n":1}`},
		{`{"secret":{"a":["}"],"b":"x"},"n":1}`, `{"secret":[redacted],"n":1}`},
		{`{\"password\":\"hunter2\",\"n\":1}`, `{\"password\":[redacted],\"n\":1}`},
		{`{"pin": 1234}`, `{"pin": [redacted]}`},
		{"matched ARGS:password=hunter2 here", "matched ARGS:password=[redacted] here"},
		{"user[password]=hunter2&x=1", "user[password]=[redacted]&x=1"},
		{"Cookie: a=b; c=d\r\nHost: x", "Cookie: [redacted]\r\nHost: x"},
		{"IBAN = DE00 1", "IBAN = [redacted] 1"},
		{`"secret": "password": "x"`, `"secret": [redacted]`},
	} {
		got := r.Text(c[0])
		if got != c[1] {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
		if again := r.Text(got); again != got {
			t.Errorf("%q: a second time gives %q", got, again)
		}
	}
}

func TestQuery(t *testing.T) {
	r := event.NewRedactor([]string{"iban"})
	for _, c := range [][2]string{
		{"", ""},
		{"a=1&b=2&&c", "a=1&b=2&&c"},
		{"a=1&password=x&b=2", "a=1&password=[redacted]&b=2"},
		{"PassWord=x", "PassWord=[redacted]"},
		{"p%61ssword=x", "p%61ssword=[redacted]"},
		{"p%2561ssword=x", "p%2561ssword=[redacted]"},
		{"access-token=x&apiKey=y", "access-token=[redacted]&apiKey=[redacted]"},
		{"user%5Bpassword%5D=x", "user%5Bpassword%5D=[redacted]"},
		{"a.iban=x=y;z", "a.iban=[redacted]"},
		{"password=a;b", "password=[redacted]"},
		{"a=1;password=b", "a=1;password=[redacted]"},
		{"password=", "password="},
		{"x=" + jwt, "x=[redacted]"},
		{jwt, "[redacted]"},
		{"next=https%3A%2F%2Fx%2F%3Ftoken%3Dabc", "next=[redacted]"},
		{"card=4111+1111+1111+1111", "card=[redacted]"},
		{"q=100%&r=%zz", "q=100%&r=%zz"},
		{"pass" + strings.Repeat("-", 99) + "word=x", "pass" + strings.Repeat("-", 99) + "word=[redacted]"},
	} {
		if got := r.Query(c[0]); got != c[1] {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
	}
}

func TestHeader(t *testing.T) {
	r := event.NewRedactor([]string{"x-shop-secret"})
	for _, c := range [][3]string{
		{"Authorization", "Bearer x", "[redacted]"},
		{"COOKIE", "a=b", "[redacted]"},
		{"X-Api-Key", "k", "[redacted]"},
		{"X-Shop-Secret", "k", "[redacted]"},
		{"X-Shop-Secret", "", ""},
		{"Accept", "*/*", "*/*"},
		{"X-Debug", "token=abc", "token=[redacted]"},
		{"Referer", "https://h/p?code=1&a=2#access_token=z", "https://h/p?code=[redacted]&a=2#access_token=[redacted]"},
		{"Content-Location", "/p?code=1", "/p?code=[redacted]"},
	} {
		if got := r.Header(c[0], c[1]); got != c[2] {
			t.Errorf("%s: %q: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestRedactEvent(t *testing.T) {
	const secret = "hunter2hunter2"
	shared := []event.Reason{
		{Code: "a", Text: "password=" + secret, Data: map[string]string{"password": secret, "n": "1"}},
		{Code: "b", Data: map[string]string{"variable": "ARGS:password", "value": secret, "rule": "942100"}},
		{Code: "c", Text: "fine", Data: map[string]string{"x": "y"}},
	}
	e := full()
	e.Path, e.Query, e.Referer = "/reset;token="+secret, "code="+secret, "https://h/?secret="+secret
	e.UserAgent, e.Host, e.Method = "x password="+secret, "u.example", "GET"
	e.Headers = []event.Header{{Name: "cookie", Value: "sid=" + secret}, {Name: "accept", Value: "*/*"}}
	e.Trail = []event.Stage{{Name: event.StageInspect, Reasons: shared}, {Name: event.StageForward}}
	trail := e.Trail
	e.Redact(event.NewRedactor(nil))
	line := string(event.AppendJSON(nil, e))
	if strings.Contains(line, secret) {
		t.Errorf("the secret is in %s", line)
	}
	for _, kept := range []string{"942100", "ARGS:password", "fine", "*/*", `"n":"1"`} {
		if !strings.Contains(line, kept) {
			t.Errorf("%s is not in %s", kept, line)
		}
	}
	if shared[0].Data["password"] != secret || shared[1].Data["value"] != secret || !reflect.DeepEqual(trail[0].Reasons, shared) {
		t.Error("reasons that may be shared were changed")
	}
}

func TestNothingToRedact(t *testing.T) {
	e, want := full(), full()
	e.Redact(event.NewRedactor(nil))
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got %+v", e)
	}
}

// FuzzRedact plants a secret under a redacted name in the midst of anything.
func FuzzRedact(f *testing.F) {
	const secret = "S3cr3t-pl4nted-v4lue"
	names := []string{"password", "Access-Token", "api_key", "X-API-KEY", "client_secret", "code", "user[password]", "IBAN"}
	f.Add("a=1", "b=2", uint8(0), uint8(0))
	f.Add(`{"x":"`, `"}`, uint8(1), uint8(1))
	f.Add("%", "%zz;", uint8(2), uint8(7))
	f.Add(`"secret":`, `:`, uint8(3), uint8(3))
	f.Add("Bearer", "eyJ", uint8(4), uint8(2))
	r := event.NewRedactor([]string{"iban"})
	f.Fuzz(func(t *testing.T, before, after string, form, which uint8) {
		if strings.Contains(before+after, "S3cr3t") {
			return
		}
		name := names[int(which)%len(names)]
		plain := strings.NewReplacer("user[", "", "]", "").Replace(name)
		var out string
		switch form % 7 {
		case 0:
			out = r.Query(before + "&" + name + "=" + secret + "&" + after)
		case 1:
			out = r.Query(before + "&" + url.QueryEscape(name) + "=" + url.QueryEscape(before) + secret + "&" + after)
		case 2:
			out = r.Text(before + "&" + name + "=" + secret + "&" + after)
		case 3:
			out = r.Text(before + `{"` + plain + `":"` + secret + `"}` + after)
		case 4:
			out = r.Text(before + "\n" + plain + ":" + secret + "\n" + after)
		case 5:
			out = r.Header(plain, before+secret+after)
		case 6:
			e := &event.Event{Path: "/", Query: plain + "=" + secret + "&" + after, Referer: before + "?" + name + "=" + secret}
			e.Headers = []event.Header{{Name: plain, Value: before + secret}}
			e.Trail = []event.Stage{{Reasons: []event.Reason{{
				Text: before + " " + plain + "=" + secret, Data: map[string]string{plain: before + secret, "k": after},
			}}}}
			e.Redact(r)
			out = string(event.AppendJSON(nil, e))
		}
		if strings.Contains(out, secret) {
			t.Fatalf("form %d: the secret is in %q", form%7, out)
		}
	})
}

func BenchmarkRedactClean(b *testing.B) {
	r := event.NewRedactor(nil)
	e := samples()["allowed"]
	b.ReportAllocs()
	for b.Loop() {
		e.Redact(r)
	}
}

func BenchmarkTextHostile(b *testing.B) {
	r := event.NewRedactor(nil)
	s := strings.Repeat("eyJ.://@bearer x=\"{ 4 ", 3000)
	b.ReportAllocs()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		r.Text(s)
	}
}
