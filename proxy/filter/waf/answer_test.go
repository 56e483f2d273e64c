package waf

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

const dbError = "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"

// exchanged sends r and an answer to it through f as the engine does, and returns what the answer filter says
// with the reasons it noted.
func exchanged(t *testing.T, f proxy.Filter, r *proxy.Request, header field.List, body io.Reader) (*proxy.Denial, []event.Reason, *proxy.Answer) {
	t.Helper()
	if err := f.Filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(r.Later.Answers) != 1 || len(r.Later.Ends) != 1 {
		t.Fatalf("%d answer filters, %d ends", len(r.Later.Answers), len(r.Later.Ends))
	}
	defer r.Later.Ends[0]()
	r.Trail = append(r.Trail, event.Stage{Name: event.StageInspectAnswer})
	a := proxy.NewAnswer(200, "HTTP/1.1", header, body)
	err := r.Later.Answers[0].Filter.Answer(t.Context(), r, a)
	var d *proxy.Denial
	if err != nil && !errors.As(err, &d) {
		t.Fatal(err)
	}
	return d, r.Trail[1].Reasons, a
}

func TestAnswers(t *testing.T) {
	text := field.List{{Name: "Content-Type", Value: "text/html; charset=utf-8"}}
	for name, c := range map[string]struct {
		waf    model.WAF
		stream bool
		header field.List
		body   string
		denied bool
		note   string // code of a reason noted
	}{
		"benign":         {body: "<h1>teapots</h1>"},
		"database error": {body: "<p>" + dbError, denied: true},
		"detect":         {waf: model.WAF{Mode: "detect"}, body: dbError, note: "waf-rule"},
		"excluded": {
			waf:  model.WAF{Exclude: []model.Exclusion{{Rule: 951230, Reason: "a site about databases"}}},
			body: dbError,
		},
		"not text":            {header: field.List{{Name: "Content-Type", Value: "image/png"}}, body: dbError},
		"beyond the bound":    {waf: model.WAF{Body: 1 << 10}, body: strings.Repeat("a ", 1<<10) + dbError, note: "answer-partly-inspected"},
		"within the bound":    {waf: model.WAF{Body: 1 << 10}, body: dbError + strings.Repeat(" a", 1<<10), denied: true},
		"stream":              {stream: true, body: dbError, note: "answer-body-not-inspected"},
		"compressed":          {header: append(text.Clone(), field.Field{Name: "Content-Encoding", Value: "gzip"}), body: dbError, note: "answer-body-not-inspected"},
		"identity is no code": {header: append(text.Clone(), field.Field{Name: "Content-Encoding", Value: "identity"}), body: dbError, denied: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.waf.Answers = new(true)
			f, err := compiler(t).Filter(model.ResolvedRoute{WAF: c.waf, Body: 1 << 20, Stream: c.stream}, model.ResolvedService{})
			if err != nil {
				t.Fatal(err)
			}
			header := c.header
			if header == nil {
				header = text
			}
			d, notes, a := exchanged(t, f, get("page=2"), header, strings.NewReader(c.body))
			if (d != nil) != c.denied {
				t.Fatalf("got %v, %v", d, notes)
			}
			if d != nil && (d.Kind != proxy.KindWithheld || d.Reasons[0].Policy[:2] != "95" || d.Reasons[0].Data["score"] == "0") {
				t.Errorf("denial %+v", d)
			}
			if (c.note != "") != (len(notes) > 0 && notes[0].Code == c.note) {
				t.Errorf("noted %v, want %q", notes, c.note)
			}
			if all, err := io.ReadAll(a); err != nil || string(all) != c.body {
				t.Errorf("%d of %d bytes are left for the client, %v", len(all), len(c.body), err)
			}
		})
	}
}

func TestAnswersAreNotAskedForWhenBlocked(t *testing.T) {
	for mode, passes := range map[string]bool{"block": false, "detect": true} {
		r := get("comment=" + sqli)
		err := filter(t, model.WAF{Mode: mode, Answers: new(true)}).Filter(t.Context(), r)
		if (err == nil) != passes || len(r.Later.Answers)+len(r.Later.Ends) != 0 {
			t.Errorf("%s: %v, %+v", mode, err, r.Later)
		}
	}
}

func TestSelfTestOfAnswers(t *testing.T) {
	c, err := NewCompiler(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Filter(model.ResolvedRoute{WAF: model.WAF{Paranoia: 2, Answers: new(true)}}, model.ResolvedService{}); err != nil {
		t.Fatal(err)
	}
	if err := c.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	if c.Engines() != 3 {
		t.Errorf("%d engines; want the route's, the standard one and the one for the answers' canaries", c.Engines())
	}
}

// endlessBody fails the test if anybody reads it.
type endlessBody struct{ t *testing.T }

func (b endlessBody) Read([]byte) (int, error) {
	b.t.Error("a body without end was read")
	return 0, io.EOF
}

func TestStreams(t *testing.T) {
	const json, grpc = "application/json", "application/grpc+proto"
	for name, c := range map[string]struct {
		stream  bool
		address string
		content string
		inspect bool // the body
	}{
		"JSON on a stream":                  {stream: true, address: "http://127.0.0.1:1", content: json},
		"form on a stream":                  {stream: true, address: "http://127.0.0.1:1", content: form},
		"parts on a stream":                 {stream: true, address: "http://127.0.0.1:1", content: parts},
		"gRPC":                              {address: "h2c://127.0.0.1:1", content: grpc},
		"gRPC-Web":                          {address: "h2c://127.0.0.1:1", content: "Application/gRPC-Web"},
		"JSON to a gRPC service":            {address: "h2c://127.0.0.1:1", content: json, inspect: true},
		"gRPC claimed to another service":   {address: "http://127.0.0.1:1", content: grpc, inspect: true},
		"JSON":                              {address: "http://127.0.0.1:1", content: json, inspect: true},
		"no gRPC, though it begins like it": {address: "h2c://127.0.0.1:1", content: "application/grpcx", inspect: true},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := compiler(t).Filter(model.ResolvedRoute{Stream: c.stream, Body: 1 << 20}, model.ResolvedService{Address: c.address})
			if err != nil {
				t.Fatal(err)
			}
			r := post(c.content, "")
			r.Header.Del("Content-Length")
			r.Body = proxy.NewBody(endlessBody{t}, -1, 1<<20)
			if c.inspect {
				r.Body = proxy.NewBody(strings.NewReader("{}"), -1, 1<<20)
			}
			err = f.Filter(t.Context(), r)
			if noted := len(r.Trail[0].Reasons) == 1 && r.Trail[0].Reasons[0].Code == "body-not-inspected"; noted == c.inspect {
				t.Errorf("noted %v", r.Trail[0].Reasons)
			}
			if _, whole := r.Body.Buffered(); whole != c.inspect {
				t.Errorf("buffered: %t", whole)
			}
			if !c.inspect && err != nil {
				t.Errorf("refused: %v", err)
			}
			// The head is inspected all the same.
			attack := post(c.content, "")
			attack.RawQuery = "q=" + sqli
			if f.Filter(t.Context(), attack) == nil {
				t.Error("an attack in the head passed")
			}
		})
	}
}

func TestChunkedPost(t *testing.T) {
	r := post("application/json", "")
	r.Header.Del("Content-Length")
	r.Body = proxy.NewBody(strings.NewReader(`{"a":1}`), -1, 1<<20)
	if err := filter(t, model.WAF{}).Filter(t.Context(), r); err != nil || len(r.Trail[0].Reasons) > 0 {
		t.Errorf("a chunked body is held against the client: %v, %v", err, r.Trail[0].Reasons)
	}
}
