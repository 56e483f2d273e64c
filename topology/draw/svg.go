package draw

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/topology"
)

//go:embed svg.css
var style string

// SVG draws a map from left to right: the gateway, who it asks, whom these ask. With a blast, what is out of reach of
// the taken service fades. The picture stands for itself: it loads nothing, runs nothing, and follows the reader's
// light or dark colours.
func SVG(w io.Writer, m *topology.Map, a *topology.Analysis, b *topology.Blast) error {
	p := newPicture(m, a, b)
	p.style = style
	return p.write(w)
}

// Inline is SVG as a part of a page: it has no style of its own, which the page brings (Style), and each box leads to where link
// says for its name.
func Inline(w io.Writer, m *topology.Map, a *topology.Analysis, b *topology.Blast, link func(name string) string) error {
	p := newPicture(m, a, b)
	p.link = link
	return p.write(w)
}

// Style is how maps look.
func Style() string { return style }

func (p *picture) write(w io.Writer) error {
	m := p.m
	p.head()
	for i := range m.Edges {
		p.edge(i)
	}
	for i := range m.Edges {
		if len(m.Edges) <= manyEdges {
			p.label(i)
		}
	}
	for i := range m.Nodes {
		p.node(i)
	}
	p.legend()
	fmt.Fprint(p, "</svg>\n")
	_, err := w.Write(p.Bytes())
	return err
}

const (
	headHeight   = 62.0
	legendHeight = 52.0
	narrowest    = 860.0 // so that the legend fits
	manyEdges    = 90    // more are drawn without words
)

type picture struct {
	bytes.Buffer
	*layout
	analysis *topology.Analysis
	style    string                   // within the picture; empty: the page brings it
	link     func(name string) string // where boxes lead; nil: nowhere
	single   map[string]*topology.SinglePoint
	share    map[string]float64
	classes  []string        // of data, sorted
	bright   map[string]bool // nodes that do not fade; nil: none does
	taken    string
	ports    map[port]float64 // height at which an edge meets a box
	worded   [][3]float64     // where words stand beside edges: the middle, and half of the width
}

// port is the end of an edge at the left or the right side of a box.
type port struct {
	edge, node int
	right      bool
}

func newPicture(m *topology.Map, a *topology.Analysis, b *topology.Blast) *picture {
	p := &picture{layout: newLayout(m), analysis: a, single: map[string]*topology.SinglePoint{}, share: map[string]float64{}, ports: map[port]float64{}}
	for i := range a.SinglePoints {
		p.single[a.SinglePoints[i].Service] = &a.SinglePoints[i]
	}
	for _, r := range a.Radius {
		p.share[r.Service] = r.Share
	}
	held := map[string]bool{}
	for i := range m.Nodes {
		for _, class := range m.Nodes[i].Data {
			held[class] = true
		}
	}
	p.classes = slices.Sorted(maps.Keys(held))
	if b != nil {
		p.taken, p.bright = b.Service, map[string]bool{b.Service: true}
		for _, r := range b.Allowed.Services {
			p.bright[r.Name] = true
		}
		for _, name := range b.Allowed.Outside {
			p.bright[name] = true
		}
	}
	for i := range p.at {
		p.at[i].y += headHeight - margin
	}
	p.dock()
	return p
}

// dock spreads the edges at each side of a box, in the order in which they come from above or below.
func (p *picture) dock() {
	type end struct {
		port
		toward float64
	}
	sides := map[port][]end{} // by a port without its edge
	for i, way := range p.ways {
		if len(way) < 2 || way[0] == way[len(way)-1] {
			continue
		}
		first, last := way[0], way[len(way)-1]
		for _, e := range []end{
			{port{i, first, true}, p.at[way[1]].y},
			{port{i, last, p.at[first].layer == p.at[last].layer}, p.at[way[len(way)-2]].y},
		} {
			side := e.port
			side.edge = 0
			sides[side] = append(sides[side], e)
		}
	}
	for side, ends := range sides {
		slices.SortFunc(ends, func(a, b end) int {
			if a.toward != b.toward {
				return int(math.Copysign(1, a.toward-b.toward))
			}
			return a.edge - b.edge
		})
		step := min(12, (boxHeight-12)/float64(len(ends)))
		for i, e := range ends {
			p.ports[e.port] = p.at[side.node].y + step*(float64(i)-float64(len(ends)-1)/2)
		}
	}
}

func (p *picture) head() {
	width, height := max(p.width, narrowest), headHeight+p.height-margin+legendHeight
	role := "img"
	if p.link != nil {
		role = "group" // of links, which a picture cannot have
	}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" class="map" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="%s" aria-label="%s">`,
		width, height, width, height, role, text("map of the fleet "+p.m.Fleet))
	if p.style != "" {
		fmt.Fprintf(p, "\n<style>%s</style>", p.style)
	}
	fmt.Fprint(p, "\n<defs>\n")
	for _, kind := range []string{"", "-used", "-message", "-egress", "-failing", "-bad"} {
		fmt.Fprintf(p, `<marker id="head%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path class="head%s" d="M0 0.5 8 4 0 7.5z"/></marker>`+"\n", kind, kind)
	}
	fmt.Fprint(p, "</defs>\n")
	fmt.Fprintf(p, `<rect class="paper" width="%.0f" height="%.0f"/>`+"\n", width, height)
	fmt.Fprintf(p, `<text class="title" x="%.0f" y="28">%s</text>`+"\n", margin, text(p.m.Fleet))
	fmt.Fprintf(p, `<text class="soft" x="%.0f" y="46">%s</text>`+"\n", margin, text(stand(p.m)))
}

// node draws a box: its name, who answers for it, a dot for each class of data, and how far it reaches once taken.
func (p *picture) node(i int) {
	n := &p.m.Nodes[i]
	x, y := p.left(p.at[i].layer), p.at[i].y-boxHeight/2
	class, words := "node", []string{n.Name}
	name, below := n.Name, n.Owner
	switch n.Kind {
	case topology.KindEdge:
		class, name, below = "node gateway", "edge", "from outside"
	case topology.KindOutside:
		class, below = "node outside", "outside the fleet"
	case topology.KindService:
	}
	if s := p.single[n.Name]; s != nil {
		class += " single"
		if len(s.CutsOff) > 0 {
			words = append(words, "a single point: without it the gateway does not reach "+strings.Join(s.CutsOff, ", "))
		} else {
			words = append(words, "a single point: it holds parts of the fleet together")
		}
	}
	if !n.Declared {
		class, below = class+" strange", "not declared"
	}
	if n.Name == p.taken {
		class += " taken"
	}
	if p.bright != nil && !p.bright[n.Name] {
		class += " faded"
	}
	if len(n.Data) > 0 {
		words = append(words, "holds "+strings.Join(n.Data, ", "))
	}
	if n.Kind == topology.KindService {
		words = append(words, fmt.Sprintf("taken, it reaches %.0f%% of the fleet", 100*p.share[n.Name]))
	}
	if p.link != nil {
		fmt.Fprintf(p, `<a href="%s">`, text(p.link(n.Name)))
		defer fmt.Fprint(p, "</a>\n")
	}
	fmt.Fprintf(p, `<g class="%s" data-node="%s"><title>%s</title><rect class="box" x="%.1f" y="%.1f" width="%.0f" height="%.0f" rx="7"/>`,
		class, text(n.Name), text(strings.Join(words, "\n")), x, y, boxWidth, boxHeight)
	fmt.Fprintf(p, `<text class="name" x="%.1f" y="%.1f">%s</text><text class="soft" x="%.1f" y="%.1f">%s</text>`,
		x+12, y+18, text(fit(name, 19)), x+12, y+34, text(fit(below, 24-3*len(n.Data))))
	for d, class := range n.Data {
		fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="%s"/>`, x+boxWidth-14-12*float64(d), y+30, p.colour(class))
	}
	if share := p.share[n.Name]; share > 0 {
		fmt.Fprintf(p, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="3" rx="1.5"/>`, x+6, y+boxHeight-4, (boxWidth-12)*share)
	}
	fmt.Fprint(p, "</g>\n")
}

// palette colours classes of data. No red, which alarms, and no amber, which is how far a service reaches.
var palette = [...]string{"#2f80d0", "#8a5cd6", "#0f9d8a", "#b0467e", "#6b8e23", "#4f6d7a", "#7a6652", "#c9a400"}

func (p *picture) colour(class string) string {
	return palette[slices.Index(p.classes, class)%len(palette)]
}

func (p *picture) edge(i int) {
	e := &p.m.Edges[i]
	way := p.ways[i]
	if way[0] == way[len(way)-1] {
		return
	}
	class, head := p.kind(e)
	if p.fades(e) {
		class += " faded"
	}
	if rate := p.m.Rate(e); rate > 0 {
		class += fmt.Sprintf(" w%d", int(math.Round(2*min(math.Log10(1+rate), 4)))) // a page may forbid styles within it
	}
	d, _ := p.curve(i)
	end := "end"
	if p.m.Nodes[way[0]].Name != e.From {
		end = "start" // it goes back to the left
	}
	fmt.Fprintf(p, `<g class="%s" data-from="%s" data-to="%s"><title>%s</title><path d="%s" marker-%s="url(#%s)"/>`,
		class, text(e.From), text(e.To), text(strings.Join(words(p.m, e), "\n")), d, end, head)
	fmt.Fprint(p, "</g>\n")
}

// label writes beside an edge what was seen of it. Labels are drawn after all edges, which would cross them out.
func (p *picture) label(i int) {
	e := &p.m.Edges[i]
	if e.Seen == nil || e.From == e.To {
		return
	}
	words := rate(p.m.Rate(e)) + " · " + topology.Short(e.Seen.Latency.Quantile(0.95))
	if !e.Used() {
		words = fmt.Sprintf("%d refused", e.Seen.Refused)
	}
	_, bends := p.curve(i)
	x, y := p.room(bends, words)
	half := 3.1 * float64(len([]rune(words)))
	class := "edge"
	if p.fades(e) {
		class += " faded"
	}
	fmt.Fprintf(p, `<g class="%s" data-from="%s" data-to="%s"><rect class="paper" x="%.1f" y="%.1f" width="%.1f" height="13"/><text x="%.1f" y="%.1f">%s</text></g>`+"\n",
		class, text(e.From), text(e.To), x-half, y-6.5, 2*half, x, y+3.5, text(words))
}

// fades tells whether an edge has nothing to do with the taken service.
func (p *picture) fades(e *topology.Edge) bool {
	return p.bright != nil && (!p.bright[e.From] || !p.bright[e.To])
}

// kind is how an edge is drawn; what calls for a look comes first.
func (p *picture) kind(e *topology.Edge) (class, head string) {
	class, head = "edge", "head"
	switch {
	case !e.Declared && !e.Used():
		class, head = "edge refused", "head-bad"
	case !e.Declared:
		class, head = "edge undeclared", "head-bad"
	case e.Used() && float64(e.Seen.Failed) > 0.05*float64(e.Seen.Passed()):
		class, head = "edge failing", "head-failing"
	case e.Kind == topology.Message:
		class, head = "edge message", "head-message"
	case e.Kind == topology.Egress:
		class, head = "edge egress", "head-egress"
	case e.Used():
		class, head = "edge used", "head-used"
	}
	if p.m.Observed() && e.Declared && !e.Used() && e.Kind != topology.Message {
		class += " unused"
	}
	if e.Encryption == topology.Plain {
		class += " plain"
	}
	return class, head
}

// bend is one bow of an edge, from left to right: a cubic with level ends.
type bend struct{ x0, y0, x1, y1 float64 }

// at is the point of a bend at t, 0 to 1.
func (b bend) at(t float64) (x, y float64) {
	u := 1 - t
	near, far := u*u*u+3*u*u*t, t*t*t+3*u*t*t
	middle := (b.x0 + b.x1) / 2
	return u*u*u*b.x0 + 3*u*t*middle + t*t*t*b.x1, near*b.y0 + far*b.y1
}

// curve is the path of an edge, and its bends, on which there is room for words.
func (p *picture) curve(i int) (string, []bend) {
	way := p.ways[i]
	first, last := way[0], way[len(way)-1]
	x0, y0 := p.left(p.at[first].layer)+boxWidth, p.ports[port{i, first, true}]
	if p.at[first].layer == p.at[last].layer {
		y1 := p.ports[port{i, last, true}]
		return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x0, y0, x0+60, y0, x0+60, y1, x0, y1), []bend{{x0 + 20, y0, x0 + 70, y1}}
	}
	var b strings.Builder
	var bends []bend
	fmt.Fprintf(&b, "M%.1f %.1f", x0, y0)
	for _, s := range way[1:] {
		x1, y1 := p.left(p.at[s].layer), p.at[s].y
		if s == last {
			y1 = p.ports[port{i, last, false}]
		}
		middle := (x0 + x1) / 2
		fmt.Fprintf(&b, "C%.1f %.1f %.1f %.1f %.1f %.1f", middle, y0, middle, y1, x1, y1)
		bends = append(bends, bend{x0, y0, x1, y1})
		if s != last {
			x1 += boxWidth
			fmt.Fprintf(&b, "L%.1f %.1f", x1, y1)
		}
		x0, y0 = x1, y1
	}
	return b.String(), bends
}

// room finds a place for words on an edge where no others stand yet: the first of a few, or the middle.
func (p *picture) room(bends []bend, words string) (x, y float64) {
	half := 3.1 * float64(len([]rune(words)))
	for _, t := range []float64{0.5, 0.36, 0.64, 0.26, 0.74} {
		for _, b := range bends {
			x, y = b.at(t)
			free := !slices.ContainsFunc(p.worded, func(o [3]float64) bool { return math.Abs(o[0]-x) < o[2]+half && math.Abs(o[1]-y) < 13 })
			if free {
				p.worded = append(p.worded, [3]float64{x, y, half})
				return x, y
			}
		}
	}
	return bends[0].at(0.5)
}

// legend explains what the picture uses.
func (p *picture) legend() {
	y := headHeight + p.height - margin + 18
	x := margin
	for _, class := range p.classes {
		fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="%s"/><text class="soft" x="%.1f" y="%.1f">%s</text>`+"\n", x+5, y-4, p.colour(class), x+14, y, text(class))
		x += 30 + 6.5*float64(len([]rune(class)))
	}
	if len(p.classes) > 0 {
		y += 18
	}
	x = margin
	used := map[string]bool{}
	for i := range p.m.Edges {
		class, _ := p.kind(&p.m.Edges[i])
		used[class] = true
	}
	for _, l := range [][2]string{
		{"edge", "declared"},
		{"edge used", "used"},
		{"edge unused", "not seen in use"},
		{"edge failing", "fails"},
		{"edge undeclared", "not declared, used"},
		{"edge refused", "tried, refused"},
		{"edge message", "message"},
		{"edge egress", "out of the fleet"},
		{"edge plain", "not encrypted"},
	} {
		if used[l[0]] {
			fmt.Fprintf(p, `<g class="%s"><path d="M%.1f %.1fh26"/></g><text class="soft" x="%.1f" y="%.1f">%s</text>`+"\n", l[0], x, y-4, x+32, y, l[1])
			x += 52 + 6*float64(len(l[1]))
		}
	}
	if len(p.single) > 0 {
		fmt.Fprintf(p, `<g class="single"><rect class="box" x="%.1f" y="%.1f" width="16" height="11" rx="3"/></g><text class="soft" x="%.1f" y="%.1f">single point</text>`+"\n", x, y-10, x+22, y)
		x += 104
	}
	fmt.Fprintf(p, `<rect class="bar" x="%.1f" y="%.1f" width="20" height="3" rx="1.5"/><text class="soft" x="%.1f" y="%.1f">share of the fleet it reaches once taken</text>`+"\n", x, y-6, x+26, y)
}

// text makes a string safe in SVG and HTML. What XML cannot hold becomes U+FFFD.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0xFFFE || r == 0xFFFF {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return html.EscapeString(s)
}

// fit cuts a string to so many characters.
func fit(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:max(most-1, 1)]) + "…"
	}
	return s
}
