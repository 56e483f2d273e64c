package hostile_test

import (
	"os"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/desync"
)

// strictly names the compliant cases that the front refuses all the same, and why.
var strictly = map[string]string{
	"Different Transfer-Encoding headers":                  "only chunked is taken; servers read other codings differently",
	"Different Transfer-Encoding headers combined":         "only chunked is taken",
	"Transfer-Encoding with a param: chunked;custom_param": "only chunked is taken, and it has no parameters",
	"Compliant URL":        "the target has a fragment and characters that RFC 3986 does not permit",
	"International in URI": "the target has raw bytes outside ASCII, which RFC 3986 does not permit",
	"Empty URI":            "the request line has no target (RFC 9112, section 3)",
}

// TestDesyncCorpus sends every request of the corpus, with a second one behind it, as a smuggler would.
func TestDesyncCorpus(t *testing.T) {
	cases, err := desync.Load(os.DirFS("../canon/testdata/desync"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFront(t, bounds{})
	count := map[string]int{}
	for i := range cases {
		c := &cases[i]
		t.Run(string(c.Tier)+" "+c.Name, func(t *testing.T) {
			f.reset()
			raw := string(c.Raw(host))
			answers := f.raw(t, raw+"GET /second HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n", c.Method)
			got := f.echo.all()
			passed := len(answers) == 2 && answers[0].status == 200 && answers[1].status == 200 && answers[1].body == "saw GET /second"
			refused := len(answers) == 1 && answers[0].status >= 400 && answers[0].status < 500 && answers[0].close && got == ""
			count[string(c.Tier)]++
			switch reason := strictly[c.Name]; {
			case c.Tier == desync.Compliant && reason == "" && !passed:
				t.Errorf("%q did not pass: %+v; the service got %q", raw, answers, got)
			case c.Tier == desync.Compliant && reason != "" && !refused:
				t.Errorf("%q is listed (%s) but was not refused: %+v; the service got %q", raw, reason, answers, got)
			case (c.Tier == desync.Severe || c.Tier == desync.Ambiguous) && !refused:
				t.Errorf("%q (%s) was not refused: %+v; the service got %q", raw, c.Reason, answers, got)
			case !passed && !refused:
				t.Errorf("%q: %+v; the service got %q", raw, answers, got)
			}
			if refused && c.Method != "HEAD" && !strings.Contains(answers[0].body, "https://palisade.dev/problems/") {
				t.Errorf("refused without a problem document: %q", answers[0].body)
			}
			if refused && len(f.events) != 1 {
				t.Errorf("%d events", len(f.events))
			}
		})
	}
	t.Logf("cases: %v", count)
}
