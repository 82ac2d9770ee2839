package flow

import (
	"fmt"
	"strings"
)

// Mermaid draws the graph as Mermaid text (flowchart, top down): a box a step, an arrow an edge. A dotted arrow
// is an outcome that goes the way of another one, holiday that of out_of_hours.
func Mermaid(g *Graph) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for i, st := range g.steps {
		open, closing := "[", "]"
		switch {
		case st.kind == "entry" || st.kind == "hangup" || st.kind == "transfer":
			open, closing = "([", "])"
		case st.kind == "condition" || st.kind == "switch" || st.kind == "timeCondition" || st.kind == "menu":
			open, closing = "{", "}"
		}
		fmt.Fprintf(&b, "    n%d%s\"%s<br/>%s\"%s\n", i, open, mermaidText(st.id), st.kind, closing)
	}
	for i, st := range g.steps {
		for _, handle := range sortedHandles(st) {
			arrow(&b, i, "-->", handle, st.next[handle])
		}
		for _, x := range st.act.exits() {
			if _, own := st.next[x.name]; own || x.or == "" || strings.Contains(x.name, ":") {
				continue
			}
			if to, ok := st.target(x.name); ok {
				arrow(&b, i, "-.->", x.name, to)
			}
		}
	}
	return b.String()
}

func arrow(b *strings.Builder, from int, line, outcome string, to int) {
	if outcome != "" {
		line += "|\"" + mermaidText(outcome) + "\"|"
	}
	fmt.Fprintf(b, "    n%d %s n%d\n", from, line, to)
}

// mermaidText writes text as Mermaid reads it inside quotes: its own signs as entities.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\"#&<>`|\\", r) || r < ' ' {
			fmt.Fprintf(&b, "#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
