package waf

import (
	"io/fs"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/palisade-security/palisade/model"
)

// TestIdleRulesAreSkipped proves that the rules an engine leaves out for its paranoia level are those that the rule
// set's own control rules skip: each stands between the control rule of its level and phase and the marker that
// this one skips to.
func TestIdleRulesAreSkipped(t *testing.T) {
	control := regexp.MustCompile(`^SecRule TX:DETECTION_PARANOIA_LEVEL "@lt ([1-4])" ".*phase:([1-5]),.*skipAfter:([A-Z0-9-]+)`)
	level := regexp.MustCompile(`tag:'paranoia-level/([1-4])'`)
	phase := regexp.MustCompile(`phase:([1-5])`)
	idle := 0
	for _, text := range ruleTexts(t) {
		skipped, marker := map[string]string{}, ""
		for directive := range logicalLines(text) {
			if name, ok := strings.CutPrefix(directive, "SecMarker "); ok {
				if strings.Trim(name, `" `) == marker {
					skipped, marker = map[string]string{}, ""
				}
				continue
			}
			if m := control.FindStringSubmatch(directive); m != nil {
				if marker != "" && m[3] != marker {
					t.Errorf("control rules skip to %q and to %q", marker, m[3])
				}
				skipped[m[2]], marker = m[1], m[3]
				continue
			}
			m := level.FindStringSubmatch(directive)
			if m == nil || m[1] == "1" {
				continue
			}
			idle++
			if p := phase.FindStringSubmatch(directive); p == nil || skipped[p[1]] != m[1] {
				t.Errorf("not skipped below paranoia level %s: %.120s", m[1], directive)
			}
		}
	}
	want := 0
	x := compiler(t).rules
	for _, tag := range idleTags(model.WAF{Paranoia: 1}) {
		want += len(x.byTag[tag])
	}
	if idle == 0 || idle != want {
		t.Errorf("%d rules above paranoia level 1 seen, %d are left out", idle, want)
	}
}

// TestTextsOfMatchesAreLeftOut proves that nothing refers to them, and that nothing else is lost.
func TestTextsOfMatchesAreLeftOut(t *testing.T) {
	for i, text := range ruleTexts(t) {
		if strings.Contains(strings.ToLower(text), "%{rule.") {
			t.Errorf("file %d refers to a rule's own texts", i)
		}
		if regexp.MustCompile(`(?m)^[^#]*logdata:`).MatchString(text) {
			t.Errorf("file %d has texts of matches", i)
		}
	}
	const rule = "SecRule ARGS \"@rx x\" \\\n    \"id:1,\\\n    msg:'a',\\\n    logdata:'b: %{TX.0}, it\\'s',\\\n    tag:'c'\"\n"
	if got := logdata.ReplaceAllString(rule, ""); got != "SecRule ARGS \"@rx x\" \\\n    \"id:1,\\\n    msg:'a',\\\n    tag:'c'\"\n" {
		t.Errorf("left of a rule: %q", got)
	}
}

func ruleTexts(tb testing.TB) []string {
	tb.Helper()
	var out []string
	for _, pattern := range [...]string{requestRuleFiles, answerRuleFiles} {
		names, err := fs.Glob(ruleFiles{coreruleset.FS}, pattern)
		if err != nil || len(names) == 0 {
			tb.Fatal(names, err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(ruleFiles{coreruleset.FS}, name)
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, string(text))
		}
	}
	return out
}

// TestExclusionsOfIdleRules compiles exclusions of rules that the engine leaves out.
func TestExclusionsOfIdleRules(t *testing.T) {
	c := compiler(t)
	for _, id := range []int{951100, 942130, 942490} {
		for _, target := range []string{"", "ARGS:note"} {
			w := withDefaults(model.WAF{Exclude: []model.Exclusion{{Rule: id, Target: target, Reason: "test"}}}, 0)
			e, err := newCoraza(w, c.rules.directives(w, Options{}), c.rules, nil)
			if err != nil {
				t.Fatal("rule "+strconv.Itoa(id), err)
			}
			if err := e.complete(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestTextsOfMatchesChangeNothing compares verdicts with and without them.
func TestTextsOfMatchesChangeNothing(t *testing.T) {
	c, w := compiler(t), withDefaults(model.WAF{Paranoia: 4}, 0)
	without, err := newCoraza(w, c.rules.directives(w, Options{}), c.rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	with, err := newCoraza(w, c.rules.directives(w, Options{}), c.rules, func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range allCanaries() {
		got, errGot := without.Inspect(t.Context(), canary.request(), []byte(canary.body))
		want, errWant := with.Inspect(t.Context(), canary.request(), []byte(canary.body))
		if errGot != nil || errWant != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v and with texts %+v (%v, %v)", canary.name, got, want, errGot, errWant)
		}
	}
}
