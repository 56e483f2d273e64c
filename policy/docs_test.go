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
	examples := 0
	for i, part := range strings.Split(string(guide), "```cedar\n") {
		if i == 0 {
			continue
		}
		text, _, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatal("an example does not end")
		}
		examples++
		// Examples are read one by one, so that ids may repeat.
		one := *snap
		one.Policies = []model.PolicyFile{{Name: "docs/policies.md", Text: text}}
		if s, findings := Compile(&one); s == nil || len(findings) > 0 {
			t.Errorf("%s\n%s", text, lines(findings))
		}
	}
	if examples < 6 {
		t.Errorf("only %d examples", examples)
	}
}
