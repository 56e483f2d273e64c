package topology

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// byHand is drawn and worked out on paper:
//
//	(edge) -> web -> api -> orders -> db
//	                  |        `----> mail -> out.example:443
//	                  `---> users --> db
//	                          ^ `---> audit
//	                          `---------'
//	          old -> db
func byHand() *Map {
	m := &Map{Format: Format, Fleet: "hand", Weights: map[string]float64{"personal": 3}}
	add := func(name string, kind NodeKind, data ...string) {
		m.Nodes = append(m.Nodes, Node{Name: name, Kind: kind, Declared: true, Data: data})
	}
	add(EdgeNode, KindEdge)
	for _, s := range []string{"web", "api", "orders", "mail", "users", "audit", "old"} {
		add(s, KindService)
	}
	add("db", KindService, "personal")
	add("out.example:443", KindOutside)
	for _, pair := range []string{"(edge) web", "web api", "api orders", "api users", "orders db", "orders mail", "users db", "users audit", "audit users", "old db"} {
		from, to, _ := strings.Cut(pair, " ")
		m.Edges = append(m.Edges, Edge{From: from, To: to, Kind: Call, Declared: true, Encryption: Mutual})
	}
	m.Edges = append(m.Edges, Edge{From: "mail", To: "out.example:443", Kind: Egress, Declared: true, Encryption: TLS})
	m.sort()
	return m
}

func TestByHand(t *testing.T) {
	a := byHand().Analyse()
	want := &Analysis{
		SinglePoints: []SinglePoint{
			{Service: "web", CutsOff: []string{"api", "audit", "db", "mail", "orders", "users"}, Splits: 1, Weight: 9},
			{Service: "api", CutsOff: []string{"audit", "db", "mail", "orders", "users"}, Splits: 1, Needed: []string{"web"}, Weight: 8},
			{Service: "users", CutsOff: []string{"audit"}, Splits: 1, Needed: []string{"api", "audit", "web"}, Weight: 1},
			{Service: "orders", CutsOff: []string{"mail"}, Splits: 1, Needed: []string{"api", "web"}, Weight: 1},
			{Service: "db", Splits: 1, Needed: []string{"api", "audit", "old", "orders", "users", "web"}}, // old hangs on it alone
		},
		Cycles:    [][]string{{"audit", "users"}},
		Recovery:  [][]string{{"db", "mail"}, {"audit", "users", "orders", "old"}, {"api"}, {"web"}},
		Unreached: []string{"old"},
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"single points", a.SinglePoints, want.SinglePoints},
		{"cycles", a.Cycles, want.Cycles},
		{"recovery", a.Recovery, want.Recovery},
		{"unreached", a.Unreached, want.Unreached},
		{"depth", len(a.Deepest), 4}, // web, api, orders or users, then one more
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.what, c.got, c.want)
		}
	}
}

func TestByHandBlast(t *testing.T) {
	b, err := byHand().Blast("api")
	if err != nil {
		t.Fatal(err)
	}
	r := b.Allowed
	// orders 1, users 1 directly; then audit 1, db 1+3, mail 1. All others of the fleet: 10 with web and old.
	if r.Direct != 2 || r.Total != 8 || r.Share != 0.8 || !slices.Equal(r.Outside, []string{"out.example:443"}) || !slices.Equal(r.Data, []string{"personal"}) {
		t.Errorf("api reaches %+v", r)
	}
	// Without orders, db is still reached over users, and the other way round.
	want := []Cut{
		{From: "api", To: "orders", Kind: ByIdentity, Shrinks: 2, Loses: []string{"mail", "orders"}},
		{From: "api", To: "users", Kind: ByIdentity, Shrinks: 2, Loses: []string{"audit", "users"}},
		{From: "orders", To: "mail", Kind: ByIdentity, Shrinks: 1, Loses: []string{"mail"}},
		{From: "users", To: "audit", Kind: ByIdentity, Shrinks: 1, Loses: []string{"audit"}},
	}
	if !reflect.DeepEqual(b.Cuts, want) {
		t.Errorf("cuts %+v\nwant %+v", b.Cuts, want)
	}
}

func TestReadBack(t *testing.T) {
	m := byHand()
	m.Edges[0].Seen = &Seen{Calls: 1, Latency: Sketch{First: 3, Counts: []int64{1}}}
	text, err := json.Marshal(struct {
		*Map
		Analysis *Analysis `json:"analysis"`
	}{m, m.Analyse()})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(bytes.NewReader(text))
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("read back %+v, %v\nwant %+v", back, err, m)
	}
	for bad, why := range map[string]string{
		`{`:             "unexpected EOF",
		`{"format": 2}`: "its format is 2",
		`{"format": 1}`: "no nodes",
		`{"format": 1, "nodes": [{"name": "a"}, {"name": "a"}]}`:                                                          "twice",
		`{"format": 1, "nodes": [{"name": "a"}], "edges": [{"from": "a", "to": "b"}]}`:                                    "no node",
		`{"format": 1, "nodes": [{"name": "a"}], "edges": [{"from": "a", "to": "a"}, {"from": "a", "to": "a"}]}`:          "twice",
		`{"format": 1, "nodes": [{"name": "a"}], "edges": [{"from": "a", "to": "a", "seen": {"latency": {"first":-1}}}]}`: "cannot be",
	} {
		if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", bad, err, why)
		}
	}
}

func TestCompare(t *testing.T) {
	was, is := byHand(), byHand()
	if d := Compare(was, is); !d.Empty() {
		t.Errorf("nothing has changed: %+v", d)
	}
	is.Edges = slices.DeleteFunc(is.Edges, func(e Edge) bool { return e.From == "users" && e.To == "db" })
	is.Edge("web", "api", Call).Encryption = Plain
	is.Node("db").Data = nil
	is.Nodes = append(is.Nodes, Node{Name: "new", Kind: KindService})
	is.Edges = append(is.Edges, Edge{From: "mail", To: "new", Kind: Call, Declared: true})
	is.sort()
	d := Compare(was, is)
	for _, want := range []Change{
		{Kind: Added, What: "new"},
		{Kind: Changed, What: "db", How: []string{"without data personal"}},
		{Kind: Added, What: "mail -> new (call)", How: []string{"declared"}, Wide: true},
		{Kind: Changed, What: "web -> api (call)", How: []string{"encryption plain, was mtls"}, Wide: true},
		{Kind: Removed, What: "users -> db (call)"},
		{Kind: Changed, What: "users", How: []string{"no longer reaches db", "weight 1, was 5"}},
		{Kind: Changed, What: "mail", How: []string{"reaches new", "weight 1, was 0"}, Wide: true},
	} {
		all := slices.Concat(d.Nodes, d.Edges, d.Radius)
		if !slices.ContainsFunc(all, func(c Change) bool { return reflect.DeepEqual(c, want) }) {
			t.Errorf("%+v is missing of %+v", want, all)
		}
	}
}
