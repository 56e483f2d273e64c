package draw

import (
	"fmt"
	"io"
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
	p.findings(m, a)
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
	for i := range m.Edges {
		e := &m.Edges[i]
		encrypted := string(e.Encryption)
		if encrypted == "" {
			encrypted = "?"
		}
		row := []string{e.From, e.To, string(e.Kind), map[bool]string{true: "yes", false: "NO"}[e.Declared], encrypted}
		if s := e.Seen; s != nil {
			row = append(row, rate(m.Rate(e)), strconv.FormatInt(s.Refused, 10), strconv.FormatInt(s.Failed, 10))
			for _, q := range []float64{0.5, 0.95, 0.99} {
				row = append(row, topology.Short(s.Latency.Quantile(q)))
			}
			row = append(row, moment(s.Last))
		}
		rows = append(rows, row)
	}
	return rows
}

func (p *page) findings(m *topology.Map, a *topology.Analysis) {
	p.list("Single points of failure", len(a.SinglePoints), func(i int) string {
		s := a.SinglePoints[i]
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
		return s.Service + ": " + strings.Join(how, "; ")
	})
	p.list("Circles", len(a.Cycles), func(i int) string { return names(a.Cycles[i]) })
	p.list("Not encrypted", len(a.Plain), func(i int) string { return link(a.Plain[i]) })
	p.list("Seen, and not declared", len(a.Undeclared), func(i int) string {
		l := a.Undeclared[i]
		return fmt.Sprintf("%s: %d let pass, %d refused", link(l), l.Passed, l.Tried)
	})
	p.list("Declared, and not seen in use", len(a.Unused), func(i int) string { return link(a.Unused[i]) })
	p.list("More rights than use", len(a.Privileges), func(i int) string { return privilege(&a.Privileges[i]) })
	p.list("Services that no way from the gateway reaches", len(a.Unreached), func(i int) string { return a.Unreached[i] })
	p.line("\nDepth: %s", chain(a.Deepest))
	if len(a.Radius) > 0 {
		p.line("\nReach of a taken service (palisade map blast SERVICE tells more)")
		rows := [][]string{{"  SERVICE", "DIRECTLY", "IN ALL", "OF THE FLEET"}}
		for _, r := range a.Radius {
			rows = append(rows, []string{"  " + r.Service, figure(r.Direct), figure(r.Total), fmt.Sprintf("%.0f%%", 100*r.Share)})
		}
		p.table(rows)
	}
	p.list("Cuts that shrink it most, all services taken together", len(a.Cuts), func(i int) string { return cut(&a.Cuts[i]) })
	p.list("Recovery order", len(a.Recovery), func(i int) string { return fmt.Sprintf("%d. %s", i+1, names(a.Recovery[i])) })
}

func (p *page) list(title string, n int, item func(int) string) {
	if n == 0 {
		return
	}
	p.line("\n%s", title)
	for i := range n {
		p.line("  %s", plain(item(i)))
	}
}

func chain(path []string) string {
	if len(path) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", len(path), plain(strings.Join(path, " → ")))
}

func link(l topology.Link) string { return fmt.Sprintf("%s → %s (%s)", l.From, l.To, l.Kind) }

func privilege(p *topology.Privilege) string {
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

func cut(c *topology.Cut) string {
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
		{"identity", b.ID}, {"its own data", names(b.Data)}, {"tokens of users that it sees", tokens(b.Tokens)}, {"secrets that it is given", names(b.Secrets)},
		{"believed by", names(b.Callers)}, {"data in reach", names(b.Allowed.Data)}, {"out of the fleet", names(b.Allowed.Outside)},
	} {
		if l[1] != "" {
			p.line("  %-30s%s", l[0], plain(l[1]))
		}
	}
	p.reach("In reach by what is declared", &b.Allowed)
	if b.Observed != nil {
		p.reach("In reach by what was seen in use", b.Observed)
	}
	p.list("Cuts that shrink it most", len(b.Cuts), func(i int) string { return cut(&b.Cuts[i]) })
	_, err := io.WriteString(w, p.String())
	return err
}

func tokens(t topology.Tokens) string {
	switch t {
	case topology.AccessTokens:
		return "access tokens: it can be each of them at the gateway"
	case topology.Transactions:
		return "transaction tokens: it can call on behalf of each of them"
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
		p.list(part.title, len(part.list), func(i int) string {
			c := part.list[i]
			s := map[topology.ChangeKind]string{topology.Added: "+", topology.Removed: "-", topology.Changed: "~"}[c.Kind] + " " + c.What
			if len(c.How) > 0 {
				s += ": " + strings.Join(c.How, "; ")
			}
			return s
		})
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
