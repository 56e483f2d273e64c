package draw

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/palisade-security/palisade/topology"
)

// Text writes a map for a terminal: its edges, and what follows from it.
func Text(w io.Writer, m *topology.Map, a *topology.Analysis) error {
	p := &page{}
	p.line("%s: %s", plain(m.Fleet), plain(stand(m)))
	if m.Omitted > 0 {
		p.line("%s not drawn: of no known service, or beyond the bound of undeclared ones", count(int(m.Omitted), "event"))
	}
	p.line("")
	p.table(edgeRows(m))
	p.findings(a)
	_, err := io.WriteString(w, p.String())
	return err
}

type page struct{ strings.Builder }

func (p *page) line(format string, values ...any) { fmt.Fprintf(p, format+"\n", values...) }

// table aligns rows. What stands in the last column is of any length.
func (p *page) table(rows [][]string) {
	t := tabwriter.NewWriter(p, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = plain(row[i])
		}
		_, _ = io.WriteString(t, strings.Join(row, "\t")+"\n") // into memory
	}
	_ = t.Flush()
}

func edgeRows(m *topology.Map) [][]string {
	rows := [][]string{{"FROM", "TO", "KIND", "DECLARED", "ENCRYPTED"}}
	if m.Observed() {
		rows[0] = append(rows[0], "RATE", "REFUSED", "FAILED", "P50", "P95", "P99", "LAST")
	}
	width := len(rows[0])
	if slices.ContainsFunc(m.Edges, func(e topology.Edge) bool { return deciding(&e) != "" }) {
		rows[0] = append(rows[0], "POLICIES")
	}
	for i := range m.Edges {
		e := &m.Edges[i]
		encrypted := string(e.Encryption)
		if encrypted == "" {
			encrypted = "?"
		}
		row := []string{e.From, e.To, string(e.Kind), map[bool]string{true: "yes", false: "NO"}[e.Declared], encrypted}
		if s := e.Seen; s != nil && m.Observed() {
			row = append(row, rate(m.Rate(e)), strconv.FormatInt(s.Refused, 10), strconv.FormatInt(s.Failed, 10))
			for _, q := range []float64{0.5, 0.95, 0.99} {
				row = append(row, topology.Short(s.Latency.Quantile(q)))
			}
			row = append(row, moment(s.Last))
		}
		if by := deciding(e); by != "" {
			row = append(append(row, make([]string, width-len(row))...), by)
		}
		rows = append(rows, row)
	}
	return rows
}

// deciding names the policies that decide about an edge; those of which was seen that they permitted stand alone if some were.
func deciding(e *topology.Edge) string {
	permits := e.Permits
	if e.Seen != nil && len(e.Seen.Policies) > 0 {
		permits = e.Seen.Policies
	}
	out := few(permits)
	if len(e.Forbids) > 0 {
		out = strings.TrimPrefix(out+"; but for "+few(e.Forbids), "; ")
	}
	return out
}

// few lists names in a table.
func few(list []string) string {
	const most = 2
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

func (p *page) findings(a *topology.Analysis) {
	for _, f := range findings(a) {
		p.list(f.Title, f.Items)
	}
	if len(a.Radius) > 0 {
		p.line("\nReach of a taken service (palisade map blast SERVICE tells more)")
		rows := [][]string{{"  SERVICE", "DIRECTLY", "IN ALL", "OF THE FLEET"}}
		for _, r := range a.Radius {
			rows = append(rows, []string{"  " + r.Service, figure(r.Direct), figure(r.Total), fmt.Sprintf("%.0f%%", 100*r.Share)})
		}
		p.table(rows)
	}
}

// findings are what follows from a map, in words; none without an item.
func findings(a *topology.Analysis) []finding {
	var deepest []string
	if len(a.Deepest) > 0 {
		deepest = []string{fmt.Sprintf("%d: %s", len(a.Deepest), strings.Join(a.Deepest, " → "))}
	}
	waves := each(a.Recovery, names)
	for i := range waves {
		waves[i] = fmt.Sprintf("%d. %s", i+1, waves[i])
	}
	all := []finding{
		{"Single points of failure", each(a.SinglePoints, single)},
		{"Circles", each(a.Cycles, names)},
		{"Not encrypted", each(a.Plain, link)},
		{"Seen, and not declared", each(a.Undeclared, func(l topology.Link) string {
			if l.Told > 0 {
				return fmt.Sprintf("%s: %d let pass, %d refused, %d told of by others", link(l), l.Passed, l.Tried, l.Told)
			}
			return fmt.Sprintf("%s: %d let pass, %d refused", link(l), l.Passed, l.Tried)
		})},
		{"Declared, and not seen in use", each(a.Unused, link)},
		{"More rights than use", each(a.Privileges, privilege)},
		{"Services that no way from the gateway reaches", a.Unreached},
		{"Longest chain of calls", deepest},
		{"Cuts that shrink the reach of taken services most", each(a.Cuts, cut)},
		{"Recovery order", waves},
	}
	return slices.DeleteFunc(all, func(f finding) bool { return len(f.Items) == 0 })
}

func each[T any](list []T, words func(T) string) []string {
	var out []string
	for _, x := range list {
		out = append(out, words(x))
	}
	return out
}

func single(s topology.SinglePoint) string {
	var how []string
	if len(s.CutsOff) > 0 {
		how = append(how, "without it the gateway does not reach "+names(s.CutsOff))
	}
	if s.Splits > 0 {
		how = append(how, fmt.Sprintf("the fleet falls into %d parts", s.Splits+1))
	}
	if len(s.Needed) > 0 {
		how = append(how, "needed by "+names(s.Needed))
	}
	if s.Places > 1 {
		how = append(how, fmt.Sprintf("it runs in %d places", s.Places))
	}
	return s.Service + ": " + strings.Join(how, "; ")
}

func (p *page) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	p.line("\n%s", title)
	for _, item := range items {
		p.line("  %s", plain(item))
	}
}

func link(l topology.Link) string { return fmt.Sprintf("%s → %s (%s)", l.From, l.To, l.Kind) }

func privilege(p topology.Privilege) string {
	var how []string
	if len(p.Edges) > 0 {
		var to []string
		for _, l := range p.Edges {
			to = append(to, l.To)
		}
		how = append(how, fmt.Sprintf("does not use %d of its %s: %s", len(p.Edges), count(p.Allowed, "edge"), names(to)))
	}
	if len(p.Routes) > 0 {
		how = append(how, "does not use the routes "+names(p.Routes))
	}
	return p.Service + " " + strings.Join(how, "; ")
}

func cut(c topology.Cut) string {
	s := fmt.Sprintf("%s → %s (%s): −%s", c.From, c.To, c.Kind, figure(c.Shrinks))
	if len(c.Loses) > 0 {
		s += ", out of reach: " + names(c.Loses)
	}
	if c.Unused {
		s += "; not seen in use"
	}
	return s
}

func figure(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// names lists names, and counts those that would not fit a line.
func names(list []string) string {
	const most = 12
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// BlastText writes for a terminal what a taken service reaches.
func BlastText(w io.Writer, b *topology.Blast) error {
	p := &page{}
	p.line("%s taken: %.0f%% of the fleet in reach, weight %s directly, %s in all", plain(b.Service), 100*b.Allowed.Share, figure(b.Allowed.Direct), figure(b.Allowed.Total))
	for _, l := range [][2]string{
		{"identity", b.ID},
		{"its own data", names(b.Data)},
		{"tokens of users that it sees", tokens(b.Tokens)},
		{"secrets that it is given", names(b.Secrets)},
		{"believed by", names(b.Callers)},
		{"data in reach", names(b.Allowed.Data)},
		{"out of the fleet", names(b.Allowed.Outside)},
	} {
		if l[1] != "" {
			p.line("  %-30s%s", l[0], plain(l[1]))
		}
	}
	p.reach("In reach by what is declared", &b.Allowed)
	if b.Observed != nil {
		p.reach("In reach by what was seen in use", b.Observed)
	}
	p.list("Cuts that shrink it most", each(b.Cuts, cut))
	_, err := io.WriteString(w, p.String())
	return err
}

func tokens(t topology.Tokens) string {
	switch t {
	case topology.AccessTokens:
		return "access tokens: it can be each of them at the gateway"
	case topology.Transactions:
		return "transaction tokens: it can call on behalf of each of them"
	case topology.NoTokens:
	}
	return ""
}

func (p *page) reach(title string, r *topology.Reach) {
	p.line("\n%s", title)
	if len(r.Services) == 0 {
		p.line("  nothing")
		return
	}
	rows := [][]string{{"  STEPS", "SERVICE", "WEIGHT", "DATA", "BY", "PATH"}}
	for _, s := range r.Services {
		var by []string
		for _, b := range s.By {
			by = append(by, string(b))
		}
		rows = append(rows, []string{"  " + strconv.Itoa(s.Steps), s.Name, figure(s.Weight), strings.Join(s.Data, ", "), strings.Join(by, ", "), strings.Join(s.Path, " → ")})
	}
	p.table(rows)
}

// DiffText writes for a terminal what has changed.
func DiffText(w io.Writer, d *topology.Diff) error {
	p := &page{}
	p.line("%s: %s → %s", plain(d.Fleet), standing(d.Before), standing(d.After))
	if d.Empty() {
		p.line("nothing has changed")
	}
	for _, part := range []struct {
		title string
		list  []topology.Change
	}{{"Services and hosts", d.Nodes}, {"Edges", d.Edges}, {"Reach of taken services", d.Radius}} {
		p.list(part.title, each(part.list, func(c topology.Change) string {
			s := map[topology.ChangeKind]string{topology.Added: "+", topology.Removed: "-", topology.Changed: "~"}[c.Kind] + " " + c.What
			if len(c.How) > 0 {
				s += ": " + strings.Join(c.How, "; ")
			}
			return s
		}))
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func standing(s topology.Stand) string {
	out := "no snapshot"
	if s.Snapshot != "" {
		out = fmt.Sprintf("snapshot %.12s", s.Snapshot)
	}
	if s.Events > 0 {
		out += fmt.Sprintf(" (%s until %s)", count(int(s.Events), "event"), moment(s.Until))
	}
	return plain(out)
}

// plain keeps what stands in names from moving the cursor, ending the line or the column.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
