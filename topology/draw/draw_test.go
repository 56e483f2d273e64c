package draw

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/graph/encoding/dot"
	"gonum.org/v1/gonum/graph/simple"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/topology"
)

var update = flag.Bool("update", false, "write the pictures in docs again")

// shop is the map of the example after ten quiet minutes and one attempt.
func shop(t *testing.T) *topology.Map {
	t.Helper()
	d, findings, err := model.Load("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := d.Compile(model.Options{Development: true, Getenv: func(string) (string, bool) { return "", false }})
	if snap == nil {
		t.Fatal(findings)
	}
	snap.Version = "" // the picture is of this model whatever its paths are
	f := topology.NewFold(topology.Declare(snap, &d.Fleet))
	begin := time.Date(2026, 11, 17, 9, 0, 0, 0, time.UTC)
	see := func(from, to string, calls int, took time.Duration, failing int, refused bool) {
		for i := range calls {
			e := &event.Event{
				Time: begin.Add(time.Duration(i) * 600 * time.Second / time.Duration(max(calls-1, 1))), Side: event.SideInbound, Service: to, Host: to,
				Workload: model.ServiceID("shop.example", from), Allowed: !refused, Status: 200, Took: took + time.Duration(i%20)*took/10, TLSVersion: "1.3",
			}
			if from == topology.EdgeNode {
				e.Workload = model.EdgeID("shop.example")
			}
			if failing > 0 && i%failing == 0 {
				e.Status = 503
			}
			f.Event(e)
		}
	}
	see(topology.EdgeNode, "web", 9000, 2*time.Millisecond, 0, false)
	see(topology.EdgeNode, "catalog", 5400, 900*time.Microsecond, 0, false)
	see(topology.EdgeNode, "orders", 1500, 9*time.Millisecond, 0, false)
	see("orders", "catalog", 1500, 700*time.Microsecond, 0, false)
	see("orders", "payments", 600, 30*time.Millisecond, 9, false)
	see("web", "catalog", 900, time.Millisecond, 0, false)
	see("web", "payments", 3, 0, 0, true)
	return f.Map()
}

// hostile is a map with names that want to be more than names.
func hostile() *topology.Map {
	m := &topology.Map{Format: topology.Format, Fleet: `"><script>alert(1)</script>`, Nodes: []topology.Node{{Name: topology.EdgeNode, Kind: topology.KindEdge, Declared: true}}}
	for i, name := range []string{`a"]; b -> c [label="`, "line\nbreak\x1b[31m\x00", `</title></svg><script>alert(1)</script>`, `back\slash\N\`, "\xff\xfe bytes", `n1["x"]`, strings.Repeat("long", 100), `]]>&amp;<!--`} {
		m.Nodes = append(m.Nodes, topology.Node{Name: name, Kind: []topology.NodeKind{topology.KindService, topology.KindOutside}[i%2], Owner: name, Data: []string{name}})
		m.Edges = append(m.Edges, topology.Edge{From: topology.EdgeNode, To: name, Kind: topology.Call, Protocol: name, Routes: []string{name}, Seen: &topology.Seen{Calls: 1, Identities: []string{name}}})
	}
	m.Events = 1
	return m
}

func wellFormed(t *testing.T, text []byte) (elements []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements = append(elements, e.Name.Local)
		}
	}
}

func TestPictureOfTheDocs(t *testing.T) {
	m := shop(t)
	var b bytes.Buffer
	if err := SVG(&b, m, m.Analyse(), nil); err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/map-shop.svg"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not how the map is drawn now (%v); go test ./topology/draw -update writes it, look at it then", path, err)
	}
	wellFormed(t, b.Bytes())
}

func TestHostileNamesStayWords(t *testing.T) {
	m := hostile()
	a := m.Analyse()
	var svg, page, text, graph, chart bytes.Buffer
	for _, err := range []error{SVG(&svg, m, a, nil), HTML(&page, m, a, nil), Text(&text, m, a), DOT(&graph, m), Mermaid(&chart, m)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(wellFormed(t, svg.Bytes()), "script") {
		t.Error("a name became an element of the picture")
	}
	if n := strings.Count(page.String(), "<script"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
	for _, r := range text.String() {
		if r < ' ' && r != '\n' {
			t.Errorf("the text has the control character %q", r)
		}
	}
	g := simple.NewDirectedGraph()
	if err := dot.Unmarshal(graph.Bytes(), g); err != nil || g.Nodes().Len() != len(m.Nodes) || g.Edges().Len() != len(m.Edges) {
		t.Errorf("DOT says %d nodes and %d edges, %v:\n%s", g.Nodes().Len(), g.Edges().Len(), err, graph.String())
	}
	if lines := strings.Count(chart.String(), "\n"); lines != 1+len(m.Nodes)+len(m.Edges)+1 {
		t.Errorf("Mermaid has %d lines:\n%s", lines, chart.String())
	}
}

// TestPageNeedsNothing: one script, and it is the one that the page's own policy allows; no address of anything else.
func TestPageNeedsNothing(t *testing.T) {
	m := shop(t)
	b, err := m.Blast("orders")
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := HTML(&page, m, m.Analyse(), b); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(page.String(), "<script>")
	code, _, _ := strings.Cut(rest, "</script>")
	hash := sha256.Sum256([]byte(code))
	if want := "script-src &#39;sha256-" + strings.ReplaceAll(base64.StdEncoding.EncodeToString(hash[:]), "+", "&#43;") + "&#39;"; !strings.Contains(strings.ReplaceAll(page.String(), "'", "&#39;"), want) {
		t.Errorf("the page does not allow its own script, %s", want)
	}
	for _, bad := range []string{"src=", "href=", "@import", "fetch("} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if n := strings.Count(strings.ReplaceAll(page.String(), "http://www.w3.org/2000/svg", ""), "//www"); n > 0 {
		t.Error("the page names another")
	}
}

// random is a fleet of some services.
func random(seed uint64, n int) *topology.Map {
	r := rand.New(rand.NewPCG(seed, 9))
	m := &topology.Map{Format: topology.Format, Nodes: []topology.Node{{Name: topology.EdgeNode, Kind: topology.KindEdge, Declared: true}}}
	for i := range n {
		m.Nodes = append(m.Nodes, topology.Node{Name: fmt.Sprintf("s%03d", i), Kind: topology.KindService, Declared: true})
	}
	seen := map[[2]int]bool{}
	for range 2 * n {
		e := [2]int{r.IntN(n + 1), 1 + r.IntN(n)}
		if !seen[e] {
			seen[e] = true
			m.Edges = append(m.Edges, topology.Edge{From: m.Nodes[e[0]].Name, To: m.Nodes[e[1]].Name, Kind: topology.Call, Declared: true})
		}
	}
	return m
}

func TestNothingOverlaps(t *testing.T) {
	for seed := range uint64(60) {
		l := newLayout(random(seed, 2+int(seed)))
		for _, layer := range l.layers {
			for i := 1; i < len(layer); i++ {
				a, b := layer[i-1], layer[i]
				if l.at[b].y-l.at[a].y < l.half(a)+l.half(b)-1e-6 {
					t.Fatalf("seed %d: spots at %.1f and %.1f overlap", seed, l.at[a].y, l.at[b].y)
				}
			}
		}
		for i, s := range l.at {
			if s.y-boxHeight/2 < 0 || s.y+boxHeight/2 > l.height || l.left(s.layer)+boxWidth > l.width {
				t.Fatalf("seed %d: spot %d stands outside of the picture", seed, i)
			}
		}
		for i, way := range l.ways {
			for n := 1; n < len(way); n++ {
				if way[0] != way[len(way)-1] && l.at[way[n]].layer != l.at[way[n-1]].layer+1 {
					t.Fatalf("seed %d: edge %d jumps from layer %d to %d", seed, i, l.at[way[n-1]].layer, l.at[way[n]].layer)
				}
			}
		}
	}
}

func TestSameMapSamePicture(t *testing.T) {
	for seed := range uint64(5) {
		var all [2]bytes.Buffer
		for i := range all {
			m := random(seed, 40)
			if err := SVG(&all[i], m, m.Analyse(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(all[0].Bytes(), all[1].Bytes()) {
			t.Errorf("seed %d: two pictures of one map", seed)
		}
		wellFormed(t, all[0].Bytes())
	}
}

func TestInversions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		list := make([]int, r.IntN(30))
		for i := range list {
			list[i] = r.IntN(10)
		}
		want := 0
		for i := range list {
			for j := range i {
				if list[j] > list[i] {
					want++
				}
			}
		}
		if got := inversions(slices.Clone(list)); got != want {
			t.Fatalf("%v has %d inversions, want %d", list, got, want)
		}
	}
}
