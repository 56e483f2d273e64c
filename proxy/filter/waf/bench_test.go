package waf

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

type benchCase struct {
	name, query, content, body string
}

func benchCases(tb testing.TB) []benchCase {
	tb.Helper()
	order := map[string]any{"customer": "c-1042", "note": "please ring twice, the bell is quiet", "express": true}
	items := []map[string]any{}
	for i := range 12 {
		items = append(items, map[string]any{"sku": fmt.Sprintf("tea-%04d", i), "count": i + 1, "price": 12.5, "label": "green teapot"})
	}
	order["items"] = items
	body, err := json.Marshal(order)
	if err != nil {
		tb.Fatal(err)
	}
	var fields strings.Builder
	for i := range 24 {
		fmt.Fprintf(&fields, "field_%02d=%s&", i, strings.Repeat("some+plain+words+", 4))
	}
	return []benchCase{
		{name: "get-5-headers"},
		{name: "get-5-args", query: "page=2&sort=name&q=green+teapot&size=50&lang=en"},
		{name: "post-json-1KiB", content: "application/json", body: string(body)},
		{name: "post-form-2KiB", content: form, body: strings.TrimSuffix(fields.String(), "&")},
	}
}

func (c *benchCase) request() *proxy.Request {
	if c.content == "" {
		r := get(c.query)
		r.Header.Add("Accept-Language", "en")
		r.Header.Add("Accept-Encoding", "gzip")
		return r
	}
	return post(c.content, c.body)
}

// BenchmarkInspect compares the filter's engine with Coraza used by hand, request by request in turn, with the
// same rule set and settings. Run it without tests (-run '^$'): Coraza is as it comes only in an engine made before
// the first of ours.
func BenchmarkInspect(b *testing.B) {
	var all strings.Builder
	all.WriteString(baseDirectives)
	writeSetup(&all, withDefaults(model.WAF{}, 0))
	all.WriteString("Include @owasp_crs/*.conf\n")
	plain, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(all.String()).WithRequestBodyAccess())
	if err != nil {
		b.Fatal(err)
	}
	engine := filter(b, model.WAF{}).engine
	for _, c := range benchCases(b) {
		r, body := c.request(), []byte(c.body)
		b.Run(c.name+"/palisade", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, err := engine.Inspect(b.Context(), r, body); err != nil || v.Blocked {
					b.Fatal(v, err)
				}
			}
		})
		b.Run(c.name+"/coraza", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tx := plain.NewTransaction()
				feedHead(tx, r)
				tx.ProcessRequestHeaders()
				if err := feedBody(tx, body); err != nil || tx.IsInterrupted() {
					b.Fatal(err)
				}
				if err := tx.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCompile shows what one choice of settings costs at start, and the memory it keeps.
func BenchmarkCompile(b *testing.B) {
	c := compiler(b)
	w := withDefaults(model.WAF{}, 0)
	var before, after runtime.MemStats
	var kept []*corazaEngine
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		e, err := newCoraza(w, c.rules.directives(w, Options{}), c.rules, nil)
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, e)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(len(kept)), "heap-B/engine")
	runtime.KeepAlive(kept)
}
