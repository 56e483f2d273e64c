package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

// TestGuide compiles every Cedar example of the guide.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "docs", "policies.md"))
	if err != nil {
		t.Fatal(err)
	}
	snap := shop()
	for _, name := range []string{"staff", "finance"} {
		snap.Roles = append(snap.Roles, model.ResolvedRole{Name: name, Includes: []string{name}})
	}
	snap.Routes = append(snap.Routes, model.ResolvedRoute{
		ID: "orders shop.localhost/users/{user}/orders", Service: "orders", Host: "shop.localhost",
		Path: "/users/{user}/orders", Methods: []string{"POST"},
	})
	inside := meshed()
	inside.Roles, inside.Routes = snap.Roles, snap.Routes
	inside.Services[2].Serve[0].Allow = nil // the guide writes it out
	general, between, ok := strings.Cut(string(guide), "\n## Between services\n")
	if !ok {
		t.Fatal("the guide says nothing of services")
	}
	if n := guideExamples(t, general, snap) + guideExamples(t, general+between, inside); n < 17 {
		t.Errorf("only %d examples", n)
	}
}

// guideExamples compiles the examples of a text one by one, so that ids may repeat, and counts them.
func guideExamples(t *testing.T, text string, snap *model.Snapshot) int {
	t.Helper()
	parts := strings.Split(text, "```cedar\n")[1:]
	for _, part := range parts {
		example, _, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatal("an example does not end")
		}
		one := *snap
		one.Policies = []model.PolicyFile{{Name: "docs/policies.md", Text: example}}
		if s, findings := Compile(&one); s == nil || len(findings) > 0 {
			t.Errorf("%s\n%s", example, lines(findings))
		}
	}
	return len(parts)
}
