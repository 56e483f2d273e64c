package waf_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/internal/crstest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/filter/waf"
)

// gateway is the least that stands between net/http and the filter: it makes our request of theirs, inspects
// it and the back end's answer, and keeps what matched by request id.
type gateway struct {
	filter  *waf.Filter
	backend http.Handler

	mu    sync.Mutex
	next  int
	lines map[string][]string
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.next++
	id := strconv.Itoa(g.next)
	g.mu.Unlock()
	w.Header().Set("X-Request-Id", id)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	req := request(r, id, body)
	x, _, err := g.filter.Open(r.Context(), req, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer func() { _ = x.Close() }()
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	rec := httptest.NewRecorder()
	g.backend.ServeHTTP(rec, r)
	answer := rec.Result()
	defer func() { _ = answer.Body.Close() }()
	var header field.List
	for name, values := range answer.Header {
		for _, value := range values {
			header.Add(name, value)
			w.Header().Add(name, value)
		}
	}
	if _, err = x.Answer(answer.StatusCode, r.Proto, header, func() ([]byte, error) { return rec.Body.Bytes(), nil }); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(rec.Body.Bytes())
}

// request makes the engine's request of net/http's, with the head as it came.
func request(r *http.Request, id string, body []byte) *proxy.Request {
	req := &proxy.Request{
		ID: id, Method: r.Method, Scheme: "http", Host: r.Host, RawQuery: r.URL.RawQuery, Proto: r.Proto,
		Client: netip.MustParseAddrPort(r.RemoteAddr).Addr(),
		Body:   proxy.NewBody(strings.NewReader(string(body)), int64(len(body)), 1<<20),
	}
	req.Path, _, _ = strings.Cut(r.RequestURI, "?")
	if r.Host != "" {
		req.Header.Add("Host", r.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			req.Header.Add(name, value)
		}
	}
	for _, te := range r.TransferEncoding {
		req.Header.Add("Transfer-Encoding", te)
	}
	return req
}

func (g *gateway) trace(id, line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines[id] = append(g.lines[id], line)
}

func (g *gateway) of(_ context.Context, id string) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lines[id], nil
}

// TestCoreRuleSet runs the rule set's own regression tests through the filter behind a plain net/http server;
// under the race detector only some of them.
func TestCoreRuleSet(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 4,674 requests")
	}
	g := &gateway{backend: crstest.Backend(), lines: map[string][]string{}}
	c, err := waf.NewCompiler(waf.Options{Setup: crstest.Setup, Trace: g.trace})
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Filter(model.ResolvedRoute{WAF: model.WAF{Paranoia: 4, Answers: new(true)}}, model.ResolvedService{})
	if err != nil {
		t.Fatal(err)
	}
	g.filter = f.(*waf.Filter)
	s := httptest.NewServer(g)
	defer s.Close()
	report, err := crstest.Run(t.Context(), crstest.Target{Address: s.Listener.Addr().String(), Lines: g.of}, t.TempDir(), crstest.Every(share))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests in %s: %d passed, %d failed, %d refused earlier; %d pass by the suite's own verdict",
		len(report.Results), report.Took, report.Count(crstest.Passed), report.Count(crstest.Failed),
		report.Count(crstest.Refused)+report.Count(crstest.Strict), report.SuitePassed())
	for _, difference := range expectations(t, report) {
		t.Error(difference)
	}
	if got := report.SuitePassed(); share == 1 && got < wantPassed {
		t.Errorf("%d tests pass by the suite's own verdict, want %d", got, wantPassed)
	}
}

// wantPassed is what Coraza passes of the suite behind a plain server without changes to the suite.
const wantPassed = 4658

func expectations(t *testing.T, report *crstest.Report) []string {
	t.Helper()
	list, err := os.Open("testdata/crs-expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Close() }()
	expected, err := crstest.ReadExpected(list)
	if err != nil {
		t.Fatal(err)
	}
	if share > 1 {
		expected = report.Ran(expected)
	}
	return report.Compare(expected)
}
