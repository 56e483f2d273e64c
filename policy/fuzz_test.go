package policy

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

// FuzzCompile feeds hostile policy text. It must never panic, must place its findings inside the file, and
// what it accepts must decide as plain Cedar does.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"",
		`permit (principal in Role::"customer", action in Action::"read", resource in Service::"payments");`,
		`@id("a") forbid (principal is User, action, resource) when { context.ip.isInRange(ip("10.0.0.0/8")) } unless { principal.claims has team };`,
		`permit (principal == User::"idp|1", action == Action::"GET", resource is Route in Service::"orders");`,
		"// a\npermit (principal, action, resource) when { \"\\u{41};\" like \"*\" };",
		`permit (principal, action, resource) when { if true then {a: [1, -2]}.a.contains(3) else false };`,
		"permit (principal, action, resource) when { 1 +",
		"/* ; */ permit(principal,action,resource);;",
		strings.Repeat("permit (principal, action, resource) when { !", 3),
		"permit (principal, action, resource) when { ip(\"::/0\").isInRange(ip(\"x\")) };",
		"@id(\"\x00\")",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, findings := Compile(shop(text))
		last := strings.Count(text, "\n") + 1
		for _, finding := range findings {
			if p := finding.Position; p.File != "policies/p0.cedar" || p.Line > last || p.Line < 0 || p.Column < 0 {
				t.Fatalf("a finding outside of the file: %+v", finding)
			}
			if finding.Text == "" || finding.Code == "" {
				t.Fatalf("an empty finding: %+v", finding)
			}
			if s != nil && finding.Severity == model.Error {
				t.Fatalf("usable in spite of %+v", finding)
			}
		}
		if s == nil {
			if len(findings) == 0 {
				t.Fatal("refused without a finding")
			}
			return
		}
		for _, u := range []*User{nil, user("u", "customer"), user("1", "admin")} {
			for _, route := range []string{orders, catalog, refunds} {
				compare(t, s, ask(u, "GET", route))
			}
		}
		for _, id := range s.Policies() {
			if source, position, ok := s.Source(id); !ok || source == "" || position == "" {
				t.Fatalf("policy %q has no source", id)
			}
		}
	})
}
