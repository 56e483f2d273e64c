package waf

import (
	"slices"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/palisade-security/palisade/model"
)

// The rule set that is linked in. A new version changes these on purpose or not at all.
const (
	wantVersion = "OWASP_CRS/4.25.0"
	wantRules   = 639 // with the recommended configuration's and our own set-up
	wantMarkers = 30
	wantAtOne   = 360 // rules and markers of an engine at paranoia 1 that inspects no answers
)

func TestSelfTest(t *testing.T) {
	c := compiler(t)
	if err := c.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.rules.version != wantVersion || len(c.rules.byID) != wantRules || c.rules.markers != wantMarkers {
		t.Errorf("linked: %s with %d rules and %d markers", c.rules.version, len(c.rules.byID), c.rules.markers)
	}
	e := filter(t, model.WAF{Paranoia: 4, Answers: new(true)}).engine.(*corazaEngine)
	if e.count != wantRules+wantMarkers {
		t.Errorf("the whole engine counts %d rules, want %d", e.count, wantRules+wantMarkers)
	}
	if e := filter(t, model.WAF{}).engine.(*corazaEngine); e.count != wantAtOne {
		t.Errorf("the default engine counts %d rules, want %d", e.count, wantAtOne)
	}
}

// TestIndexIsWhatIsCompiled compares our reading of the rule texts with the engine's.
func TestIndexIsWhatIsCompiled(t *testing.T) {
	x := compiler(t).rules
	seen := map[int]bool{}
	config := experimental.WAFConfigWithRuleObserver(coraza.NewWAFConfig().WithRootFS(ruleFiles{coreruleset.FS}).
		WithDirectives(x.directives(model.WAF{Paranoia: 4, Answers: new(true)}, Options{})), func(r types.RuleMetadata) {
		if r.ID() == 0 {
			return
		}
		seen[r.ID()] = true
		info, known := x.byID[r.ID()]
		if !known {
			t.Errorf("rule %d is compiled and not indexed", r.ID())
		}
		if got, want := slices.Sorted(slices.Values(r.Tags())), slices.Sorted(slices.Values(info.tags)); !slices.Equal(got, want) {
			t.Errorf("rule %d has the tags %q, indexed are %q", r.ID(), got, want)
		}
		if strings.Contains(info.message, "%{") || detection(r.ID()) && strings.Contains(r.Raw(), "msg:") && info.message == "" {
			t.Errorf("rule %d has the message %q", r.ID(), info.message)
		}
	})
	if _, err := coraza.NewWAF(config); err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(x.byID) {
		t.Errorf("%d rules compiled, %d indexed", len(seen), len(x.byID))
	}
}

func TestSelfTestNoticesWhatIsMissing(t *testing.T) {
	c, err := NewCompiler(Options{Setup: "SecAction \"id:900999,phase:1,pass,nolog,t:none,ctl:ruleRemoveByTag=attack-xss\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SelfTest(t.Context()); err == nil || !strings.Contains(err.Error(), "cross-site scripting") {
		t.Errorf("a set without its XSS rules passes: %v", err)
	}
	e := &corazaEngine{rules: c.rules, count: 668, want: 669}
	if e.complete() == nil {
		t.Error("a missing rule is not noticed")
	}
}

func TestEnginesAreShared(t *testing.T) {
	c, err := NewCompiler(Options{})
	if err != nil {
		t.Fatal(err)
	}
	route := func(w model.WAF) {
		t.Helper()
		if _, err := c.Filter(model.ResolvedRoute{WAF: w, Body: 1 << 20}, model.ResolvedService{}); err != nil {
			t.Fatal(err)
		}
	}
	route(model.WAF{})
	route(model.WAF{Mode: "detect", Body: 5, Paranoia: 1, Threshold: 5})
	if c.Engines() != 1 {
		t.Errorf("%d engines for the same settings", c.Engines())
	}
	route(model.WAF{Exclude: []model.Exclusion{{Rule: 942100, Reason: "test"}}})
	if c.Engines() != 2 {
		t.Errorf("%d engines for two settings", c.Engines())
	}
	c.Sweep()
	route(model.WAF{})
	c.Sweep()
	if c.Engines() != 1 {
		t.Errorf("%d engines after a snapshot that needs one", c.Engines())
	}
	if f, err := c.Filter(model.ResolvedRoute{WAF: model.WAF{Mode: "off"}}, model.ResolvedService{}); f != nil || err != nil {
		t.Errorf("off gives %v, %v", f, err)
	}
}

func TestCheck(t *testing.T) {
	one := func(x model.Exclusion) model.WAF { return model.WAF{Exclude: []model.Exclusion{x}} }
	for name, tc := range map[string]struct {
		waf             model.WAF
		code, key, hint string
	}{
		"fine":          {waf: one(model.Exclusion{Rule: 942100, Target: "ARGS:a[0].b", Reason: "r"})},
		"fine tag":      {waf: one(model.Exclusion{Tag: "language-php", Reason: "r"})},
		"mode":          {model.WAF{Mode: "on"}, "waf-mode", "mode", "block"},
		"paranoia":      {model.WAF{Paranoia: 5}, "waf-paranoia", "paranoia", "4"},
		"threshold":     {model.WAF{Threshold: -1}, "waf-threshold", "threshold", "5"},
		"body":          {model.WAF{Body: 1 << 30}, "waf-body", "body", "64MiB"},
		"unknown rule":  {one(model.Exclusion{Rule: 942101 + 10000, Reason: "r"}), "waf-unknown-rule", "exclude[0].rule", "nearest"},
		"vital rule":    {one(model.Exclusion{Rule: 949110, Reason: "r"}), "waf-vital-rule", "exclude[0].rule", "detect"},
		"unknown tag":   {one(model.Exclusion{Tag: "atack-sqli", Reason: "r"}), "waf-unknown-tag", "exclude[0].tag", "attack-sqli"},
		"vital tag":     {one(model.Exclusion{Tag: "OWASP_CRS", Reason: "r"}), "waf-vital-rule", "exclude[0].tag", "narrower"},
		"both":          {one(model.Exclusion{Rule: 942100, Tag: "attack-sqli", Reason: "r"}), "waf-exclusion", "exclude[0].rule", "942100"},
		"neither":       {one(model.Exclusion{Target: "ARGS:a", Reason: "r"}), "waf-exclusion", "exclude[0].rule", "942100"},
		"target":        {one(model.Exclusion{Rule: 942100, Target: "comment", Reason: "r"}), "waf-target", "exclude[0].target", "ARGS:comment"},
		"target of TX":  {one(model.Exclusion{Rule: 942100, Target: "TX:a", Reason: "r"}), "waf-target", "exclude[0].target", "ARGS:comment"},
		"target breaks": {one(model.Exclusion{Rule: 942100, Target: "ARGS:a\"\nSecRuleEngine Off", Reason: "r"}), "waf-target", "exclude[0].target", ""},
		"no reason":     {one(model.Exclusion{Rule: 942100}), "waf-reason", "exclude[0].reason", "safe"},
	} {
		t.Run(name, func(t *testing.T) {
			got := compiler(t).Check(tc.waf)
			if tc.code == "" {
				if len(got) > 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Code != tc.code || got[0].Key != tc.key || !strings.Contains(got[0].Hint, tc.hint) {
				t.Errorf("got %+v, want %s at %s", got, tc.code, tc.key)
			}
			if _, err := compiler(t).Filter(model.ResolvedRoute{WAF: tc.waf}, model.ResolvedService{}); err == nil {
				t.Error("it compiles all the same")
			}
		})
	}
}
