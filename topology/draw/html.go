package draw

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/palisade-security/palisade/topology"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.js
	script string
)

type finding struct {
	Title string
	Items []string
}

// HTML writes a map as one page: the picture, in which services can be searched and followed, and what follows from it in
// words. The page needs no network, and its own policy forbids it any.
func HTML(w io.Writer, m *topology.Map, a *topology.Analysis, b *topology.Blast) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	var picture, out bytes.Buffer
	if err := SVG(&picture, m, a, b); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(script))
	rows := edgeRows(m)
	type radius struct{ Service, Direct, Total, Share string }
	var radii []radius
	for _, r := range a.Radius {
		radii = append(radii, radius{r.Service, figure(r.Direct), figure(r.Total), fmt.Sprintf("%.0f%%", 100*r.Share)})
	}
	var services []string
	for i := range m.Nodes {
		services = append(services, m.Nodes[i].Name)
	}
	err = t.Execute(&out, map[string]any{
		"Map": m, "Stand": stand(m), "Services": services, "Findings": findings(a), "Radius": radii, "Head": rows[0], "Rows": rows[1:],
		"Picture": template.HTML(picture.String()), //nolint:gosec // made by SVG, which escapes every name
		"Script":  template.JS(script),             //nolint:gosec // ours, embedded
		"Hash":    "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
	})
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}
