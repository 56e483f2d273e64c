package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const deployed = "../../deploy/"

// described are the labels of every series in the code's registry, by name.
func described(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	proxy, control := NewMetrics(func() float64 { return 0 }), NewMetrics(func() float64 { return 0 })
	proxy.SVIDs(func() map[string]time.Time { return nil })
	proxy.Behind(func() time.Duration { return 0 })
	proxy.Bucket(func() (Bucket, bool) { return Bucket{}, false })
	proxy.Intake()
	control.Fleet(func() Fleet { return Fleet{} })
	name, labels := regexp.MustCompile(`fqName: "([^"]+)"`), regexp.MustCompile(`variableLabels: \{([^}]*)\}`)
	for _, m := range []*Metrics{proxy, control} {
		ch := make(chan *prometheus.Desc)
		go func() {
			defer close(ch)
			m.registry.Describe(ch)
		}()
		for d := range ch {
			n, l := name.FindStringSubmatch(d.String()), labels.FindStringSubmatch(d.String())
			if n == nil || l == nil {
				t.Fatalf("a description reads %s", d)
			}
			out[n[1]] = strings.FieldsFunc(l[1], func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	if len(out["palisade_requests_total"]) != 5 {
		t.Fatalf("labels of requests: %q", out["palisade_requests_total"])
	}
	return out
}

// rules are the files of rules as far as these tests read them.
type rules struct {
	Groups []struct {
		Rules []struct{ Record, Alert, Expr string }
	}
}

func readRules(t *testing.T, name string) (out rules) {
	t.Helper()
	text, err := os.ReadFile(deployed + "prometheus/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// expressions are all that rules and dashboards ask, by where they stand, and the series that rules record.
func expressions(t *testing.T) (asked map[string]string, recorded []string) {
	t.Helper()
	asked = map[string]string{}
	for _, file := range []string{"recording.rules.yaml", "alerting.rules.yaml"} {
		for _, g := range readRules(t, file).Groups {
			for _, r := range g.Rules {
				asked[file+" "+r.Record+r.Alert] = r.Expr
				if r.Record != "" {
					recorded = append(recorded, r.Record)
				}
			}
		}
	}
	for _, file := range boards(t) {
		for _, p := range readBoard(t, file).Panels {
			for _, q := range p.Targets {
				asked[filepath.Base(file)+" "+p.Title+" "+q.RefID] = q.Expr
			}
		}
	}
	return asked, recorded
}

// board is a dashboard as far as these tests read it.
type board struct {
	UID        string
	Templating struct {
		List []struct{ Name, Query string }
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Options json.RawMessage
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ RefID, Expr string }
	}
}

func boards(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(deployed + "grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	return files
}

func readBoard(t *testing.T, file string) (out board) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDeployedNames holds that rules and dashboards name series and labels that there are.
func TestDeployedNames(t *testing.T) {
	known := described(t)
	asked, recorded := expressions(t)
	series := regexp.MustCompile(`\b(palisade[a-z_]*:[a-z_0-9:]+|palisade_[a-z_]+)(\{[^}]*\})?`)
	matcher := regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	used := map[string]bool{}
	for where, expr := range asked {
		for _, m := range series.FindAllStringSubmatch(expr, -1) {
			if strings.Contains(m[1], ":") {
				if !slices.Contains(recorded, m[1]) {
					t.Errorf("%s: nothing records %s", where, m[1])
				}
				continue
			}
			name := m[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(name, suffix); ok && known[name] == nil {
					name = base
				}
			}
			labels, ok := known[name]
			if !ok {
				t.Errorf("%s: no series is named %s", where, m[1])
				continue
			}
			used[name] = true
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) && !slices.Contains([]string{"job", "instance", "le"}, l[1]) {
					t.Errorf("%s: %s has no label %s", where, name, l[1])
				}
			}
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "palisade_") && !used[name] {
			t.Errorf("neither a rule nor a dashboard shows %s", name)
		}
	}
}

// promtool runs Prometheus' own tool in the folder of its rules.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "promtool", args...)
	c.Dir = deployed + "prometheus"
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestRules has Prometheus check the rules, and try each alert on series that must bring it about and on some that must not.
func TestRules(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yaml")
	promtool(t, "check", "rules", "recording.rules.yaml", "alerting.rules.yaml")
	promtool(t, "test", "rules", "rules.test.yaml")
	tried, err := os.ReadFile(deployed + "prometheus/rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range readRules(t, "alerting.rules.yaml").Groups {
		for _, r := range g.Rules {
			for _, name := range []string{r.Alert + " fires", r.Alert + " is quiet"} {
				if !bytes.Contains(tried, []byte("name: "+name+"\n")) {
					t.Errorf("no test %q", name)
				}
			}
		}
	}
}

// TestBoardsAsk has Prometheus' own parser read every expression of the dashboards, with something in place of their variables.
func TestBoardsAsk(t *testing.T) {
	asked, _ := expressions(t)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$service", "orders", "$job", "palisade-edge", "$side", "edge")
	var file strings.Builder
	file.WriteString("groups:\n  - name: dashboards\n    rules:\n")
	n := 0
	for _, where := range slices.Sorted(maps.Keys(asked)) {
		if !strings.Contains(where, ".json ") {
			continue
		}
		expr, err := json.Marshal(variables.Replace(asked[where]))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(expr), "$") {
			t.Errorf("%s: %s has an unknown variable", where, expr)
		}
		fmt.Fprintf(&file, "      - {record: 'dashboard:%d', expr: %s}\n", n, expr)
		n++
	}
	path := filepath.Join(t.TempDir(), "dashboards.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if n < 50 {
		t.Errorf("only %d expressions", n)
	}
	promtool(t, "check", "rules", "--lint=none", path)
}

// TestBoards checks the dashboards against the schema that Grafana publishes (npm, @grafana/schema).
func TestBoards(t *testing.T) {
	uids := map[string]bool{}
	for _, file := range boards(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		meets(t, "dashboard", file, text)
		b := readBoard(t, file)
		if uids[b.UID] || b.UID == "" {
			t.Errorf("%s: uid %q", file, b.UID)
		}
		uids[b.UID] = true
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		for _, p := range b.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", file, p.ID)
			}
			ids[p.ID] = true
			if p.Type != "row" {
				meets(t, p.Type, file+" "+p.Title, p.Options)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
						t.Fatalf("%s: %q stands over %q, or beside the board", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
	if s := schemaOf(t, "dashboard"); s.Validate(map[string]any{"schemaVersion": 42.0, "panles": []any{}}) == nil {
		t.Error("the schema takes a key that it does not have")
	}
}

func schemaOf(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/grafana-13.2.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if all[kind] == nil {
		t.Fatalf("no schema of %q", kind)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://grafana.com/"+kind, all[kind]); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://grafana.com/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func meets(t *testing.T, kind, where string, text []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schemaOf(t, kind).Validate(v); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}
