package export_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/model"
)

// base is a Compose file as people write them, with everything that a service without a network of its own must not
// have.
func base(s *model.Snapshot) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for _, svc := range s.Services {
		fmt.Fprintf(&b, `  %q:
    image: shop/%s
    ports: ["80%d:80"]
    expose: ["81"]
    networks: [back]
    hostname: there
    domainname: shop.example
    extra_hosts: ["other=10.0.0.1"]
    dns: [10.0.0.2]
    dns_search: [shop.example]
    mac_address: 02:42:ac:11:65:43
    cap_drop: [SYS_ADMIN]
    environment: {A: b}
`, svc.Name, svc.Name, len(b.String())%90+10)
	}
	b.WriteString("  other: {image: other, networks: [back], links: [palisade-control]}\nnetworks: {back: {}}\n")
	return b.String()
}

// project reads the base and the overlay as Docker Compose does.
func project(t *testing.T, s *model.Snapshot, overlay []byte) *types.Project {
	t.Helper()
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: t.TempDir(), Environment: map[string]string{"VERSION": "2"},
		ConfigFiles: []types.ConfigFile{
			{Filename: "compose.yaml", Content: []byte(base(s))},
			{Filename: "compose.override.yaml", Content: overlay},
		},
	}, func(o *loader.Options) { o.SetProjectName("shop", true) })
	if err != nil {
		t.Fatalf("%v\n%s", err, overlay)
	}
	return p
}

// TestComposeIsRead reads every overlay over a base with the Compose library and looks at what Docker would be asked.
func TestComposeIsRead(t *testing.T) {
	for _, g := range goldens(t) {
		s, o := compile(t, g.file("palisade.yaml")), g.options(t)
		r, err := export.Compose(s, o.Compose)
		if err != nil {
			continue // TestGolden holds what is wrong
		}
		t.Run(g.name, func(t *testing.T) {
			p := project(t, s, r.Text)
			for _, svc := range s.Services {
				enclosed(t, p, svc.Name)
			}
			for name, c := range p.Services {
				if published := len(c.Ports) > 0; published != (name == export.EdgeName) {
					t.Errorf("%s publishes %v", name, c.Ports)
				}
			}
			pairs(t, p, s)
			edge := p.Services[export.EdgeName]
			if edge.Volumes[1].Type != "bind" || !edge.Volumes[1].ReadOnly || !filepath.IsAbs(edge.Volumes[1].Source) {
				t.Errorf("the model is mounted as %+v", edge.Volumes[1])
			}
			if g.name == "compose" && edge.Image != "registry.example/palisade:2" {
				t.Errorf("the image is %q", edge.Image)
			}
		})
	}
}

// enclosed makes sure that a service keeps what it is and has no way but its sidecar.
func enclosed(t *testing.T, p *types.Project, name string) {
	t.Helper()
	c, sidecar := p.Services[name], p.Services[name+"-sidecar"]
	if c.NetworkMode != "service:"+name+"-sidecar" || len(c.Networks) > 0 || len(c.Expose)+len(c.Links)+len(c.ExternalLinks)+len(c.ExtraHosts)+len(c.DNS)+len(c.DNSSearch) > 0 || c.Hostname+c.DomainName+c.MacAddress != "" {
		t.Errorf("%s is not enclosed: %+v", name, c)
	}
	if c.Image != "shop/"+name || *c.Environment["A"] != "b" || !slices.Contains(c.CapDrop, "SYS_ADMIN") || !slices.Contains(c.CapDrop, "NET_ADMIN") {
		t.Errorf("%s is another: %+v", name, c)
	}
	if d := c.DependsOn[name+"-sidecar"]; !d.Restart || !d.Required {
		t.Errorf("%s waits for %+v", name, c.DependsOn)
	}
	if !sidecar.ReadOnly || !slices.Equal(sidecar.Command, []string{"sidecar", "--service", name}) || !slices.Equal(sidecar.CapDrop, []string{"ALL"}) {
		t.Errorf("the sidecar of %s is %+v", name, sidecar)
	}
}

// pairs makes sure that two containers share a network exactly where the model declares a call, and that only those
// lead out that have somewhere to go.
func pairs(t *testing.T, p *types.Project, s *model.Snapshot) {
	t.Helper()
	want := map[string]bool{export.EdgeName + " " + export.ControlName: true}
	leads := map[string]bool{export.EdgeName: true, export.ControlName: s.Mesh.Keys != ""}
	both := func(a, b string) { want[a+" "+b], want[b+" "+a] = true, true }
	both(export.EdgeName, export.ControlName)
	for _, svc := range s.Services {
		own := svc.Name + "-sidecar"
		both(own, export.ControlName)
		leads[own] = len(svc.Egress) > 0
		for _, caller := range svc.Callers {
			if caller != svc.Name {
				both(caller+"-sidecar", own)
			}
		}
	}
	for _, r := range s.Routes {
		both(export.EdgeName, r.Service+"-sidecar")
	}
	names := slices.Sorted(maps.Keys(p.Services))
	for _, a := range names {
		out := false
		for network := range p.Services[a].Networks {
			out = out || !p.Networks[network].Internal
			if members := len(members(p, network)); a != "other" && (members > 2 || members < 1) {
				t.Errorf("%d containers are on %s", members, network)
			}
		}
		if a != "other" && out != leads[a] {
			t.Errorf("%s leads out: %t", a, out)
		}
		for _, b := range names {
			shared := slices.ContainsFunc(slices.Collect(maps.Keys(p.Services[a].Networks)), func(n string) bool { return slices.Contains(members(p, n), b) })
			if a != b && shared != want[a+" "+b] {
				t.Errorf("%s and %s share a network: %t", a, b, shared)
			}
		}
	}
}

func members(p *types.Project, network string) []string {
	var out []string
	for name, c := range p.Services {
		if _, on := c.Networks[network]; on {
			out = append(out, name)
		}
	}
	return out
}
