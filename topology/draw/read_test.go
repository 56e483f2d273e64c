package draw

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/palisade-security/palisade/topology"
)

// FuzzRead draws and analyses whatever can be read as a map: nothing panics, and the picture stays one.
func FuzzRead(f *testing.F) {
	for seed := range uint64(3) {
		text, err := json.Marshal(random(seed, 6))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"format":1,"nodes":[{"name":"a","kind":"outside"},{"name":"b"}],"edges":[{"from":"a","to":"b"},{"from":"b","to":"a"},{"from":"a","to":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := topology.Read(bytes.NewReader(text))
		if err != nil || len(m.Nodes) > 200 || len(m.Edges) > 1000 {
			return
		}
		a := m.Analyse()
		var svg bytes.Buffer
		if err := SVG(&svg, m, a, nil); err != nil {
			t.Fatal(err)
		}
		wellFormed(t, svg.Bytes())
		topology.Compare(m, m)
		for _, err := range []error{DOT(io.Discard, m), Mermaid(io.Discard, m), Text(io.Discard, m, a), HTML(io.Discard, m, a, nil)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
