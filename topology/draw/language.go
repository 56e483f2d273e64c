package draw

import (
	"fmt"
	"io"
	"strings"

	"github.com/palisade-security/palisade/topology"
)

// DOT writes a map in the language of Graphviz.
func DOT(w io.Writer, m *topology.Map) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n", dotted(m.Fleet))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		label := n.Name
		if len(n.Data) > 0 {
			label += "\n" + strings.Join(n.Data, ", ")
		}
		more := map[topology.NodeKind]string{topology.KindEdge: ", shape=house", topology.KindOutside: ", style=dashed"}[n.Kind]
		if !n.Declared {
			more += ", color=red"
		}
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", dotted(n.Name), dotted(label), more)
	}
	for i := range m.Edges {
		e := &m.Edges[i]
		var more []string
		if label := brief(m, e); label != "" {
			more = append(more, "label="+dotted(label))
		}
		if e.Kind == topology.Message || m.Observed() && !e.Used() {
			more = append(more, "style=dashed")
		}
		if !e.Declared {
			more = append(more, "color=red")
		}
		fmt.Fprintf(&b, "  %s -> %s", dotted(e.From), dotted(e.To))
		if len(more) > 0 {
			fmt.Fprintf(&b, " [%s]", strings.Join(more, ", "))
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// dotted quotes a name. A backslash would begin an escape of Graphviz's own; what no parser takes becomes a question mark.
func dotted(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// brief is what stands beside an edge: what was seen, or what is special.
func brief(m *topology.Map, e *topology.Edge) string {
	var out []string
	if e.Kind == topology.Message {
		out = append(out, strings.Join(e.Routes, ", "))
	}
	if e.Encryption == topology.Plain {
		out = append(out, "not encrypted")
	}
	switch {
	case e.Used():
		out = append(out, rate(m.Rate(e)))
	case e.Seen != nil:
		out = append(out, fmt.Sprintf("%d refused", e.Seen.Refused))
	}
	return strings.Join(out, ", ")
}

// Mermaid writes a map as a flowchart of Mermaid, which renders in Markdown on many forges.
func Mermaid(w io.Writer, m *topology.Map) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	id := map[string]string{}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		id[n.Name] = fmt.Sprintf("n%d", i)
		open, shut := map[topology.NodeKind]string{topology.KindEdge: "([", topology.KindOutside: "[/"}[n.Kind], map[topology.NodeKind]string{topology.KindEdge: "])", topology.KindOutside: "/]"}[n.Kind]
		if open == "" {
			open, shut = "[", "]"
		}
		label := mermaid(n.Name)
		if len(n.Data) > 0 {
			label += "<br/>" + mermaid(strings.Join(n.Data, ", "))
		}
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", id[n.Name], open, label, shut)
	}
	var bad []string
	for i := range m.Edges {
		e := &m.Edges[i]
		line := "-->"
		if e.Kind == topology.Message || m.Observed() && !e.Used() {
			line = "-.->"
		}
		if !e.Declared {
			bad = append(bad, fmt.Sprint(i))
		}
		label := ""
		if s := brief(m, e); s != "" {
			label = "|\"" + mermaid(s) + "\"|"
		}
		fmt.Fprintf(&b, "  %s %s%s %s\n", id[e.From], line, label, id[e.To])
	}
	if len(bad) > 0 {
		fmt.Fprintf(&b, "  linkStyle %s stroke:red\n", strings.Join(bad, ","))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaid writes a name with all but harmless characters as codes.
func mermaid(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" .,:-_/()*", r) || r > 0x7f {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
