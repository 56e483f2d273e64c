package waf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

const maxExclusions = 256

// targetPattern is a variable, or a variable and a plain key. It can hold nothing that ends a directive.
var targetPattern = regexp.MustCompile(`^([A-Z_]{2,40})(?::([A-Za-z0-9_.\[\]$@-]{1,128}))?$`)

// targetVariables are the collections of a request that rules look at.
var targetVariables = [...]string{
	"ARGS", "ARGS_GET", "ARGS_POST", "ARGS_NAMES", "ARGS_GET_NAMES", "ARGS_POST_NAMES",
	"REQUEST_HEADERS", "REQUEST_HEADERS_NAMES", "REQUEST_COOKIES", "REQUEST_COOKIES_NAMES",
	"REQUEST_BODY", "REQUEST_URI", "REQUEST_URI_RAW", "REQUEST_FILENAME", "REQUEST_BASENAME",
	"REQUEST_LINE", "QUERY_STRING", "FILES", "FILES_NAMES", "MULTIPART_PART_HEADERS", "XML",
}

// Check returns the mistakes in w. Findings have no position: who reads the file adds it; Key is relative to
// the WAF block, e.g. "exclude[0].rule".
func (c *Compiler) Check(w model.WAF) []model.Finding {
	var out []model.Finding
	add := func(code, key, text, hint string) {
		out = append(out, model.Finding{Severity: model.Error, Code: code, Key: key, Text: text, Hint: hint})
	}
	if !slices.Contains([]string{"", modeBlock, modeDetect, modeOff}, w.Mode) {
		add("waf-mode", "mode", fmt.Sprintf("%q is not a mode of inspection", w.Mode), "write block, detect or off")
	}
	if w.Paranoia < 0 || w.Paranoia > 4 {
		add("waf-paranoia", "paranoia", fmt.Sprintf("%d is not a paranoia level", w.Paranoia), "write 1, 2, 3 or 4")
	}
	if w.Threshold < 0 || w.Threshold > 10000 {
		add("waf-threshold", "threshold", fmt.Sprintf("%d is not an anomaly score", w.Threshold),
			"write 1 to 10000; one critical rule counts 5")
	}
	if w.Body < 0 || w.Body > maxBody {
		add("waf-body", "body", fmt.Sprintf("%s of body cannot be inspected", sizeText(w.Body)), "write at most "+sizeText(maxBody))
	}
	if len(w.Exclude) > maxExclusions {
		add("waf-exclusions", "exclude", fmt.Sprintf("%d exclusions are more than %d", len(w.Exclude), maxExclusions),
			"exclude by tag, or turn inspection off on the routes that do not need it")
		return out
	}
	for i, x := range w.Exclude {
		for _, f := range c.checkExclusion(x) {
			f.Key = "exclude[" + strconv.Itoa(i) + "]." + f.Key
			out = append(out, f)
		}
	}
	return out
}

func (c *Compiler) checkExclusion(x model.Exclusion) []model.Finding {
	var out []model.Finding
	add := func(code, key, text, hint string) {
		out = append(out, model.Finding{Severity: model.Error, Code: code, Key: key, Text: text, Hint: hint})
	}
	switch {
	case x.Rule == 0 && x.Tag == "", x.Rule != 0 && x.Tag != "":
		add("waf-exclusion", "rule", "an exclusion names a rule or a tag, exactly one of them", "write rule: 942100")
	case x.Rule != 0:
		if f, bad := c.checkRule(x.Rule); bad {
			out = append(out, f)
		}
	default:
		if f, bad := c.checkTag(x.Tag); bad {
			out = append(out, f)
		}
	}
	if x.Target != "" {
		m := targetPattern.FindStringSubmatch(x.Target)
		if m == nil || !slices.Contains(targetVariables[:], m[1]) {
			add("waf-target", "target", fmt.Sprintf("%q is not a part of a request that rules look at", x.Target),
				"write a variable and a name, such as ARGS:comment, REQUEST_HEADERS:X-Note or REQUEST_COOKIES:session")
		}
	}
	if strings.TrimSpace(x.Reason) == "" {
		add("waf-reason", "reason", "an exclusion needs a reason", "say why this is safe: who sends it and what the service does with it")
	}
	return out
}

func (c *Compiler) checkRule(id int) (model.Finding, bool) {
	f := model.Finding{Severity: model.Error, Code: "waf-unknown-rule", Key: "rule"}
	info, known := c.rules.byID[id]
	switch {
	case !known:
		near := c.rules.nearest(id)
		f.Text = fmt.Sprintf("no rule %d in %s", id, c.rules.version)
		f.Hint = fmt.Sprintf("the nearest is %d: %s", near, c.rules.byID[near].message)
	case !detection(id):
		f.Code = "waf-vital-rule"
		f.Text = fmt.Sprintf("rule %d makes the rule set work and cannot be excluded", info.id)
		f.Hint = "exclude the rules that find something (911000 to 948999 and 950000 to 958999), or set mode: detect"
	default:
		return f, false
	}
	return f, true
}

func (c *Compiler) checkTag(tag string) (model.Finding, bool) {
	f := model.Finding{Severity: model.Error, Code: "waf-unknown-tag", Key: "tag"}
	ids, known := c.rules.byTag[tag]
	switch {
	case !known:
		f.Text = fmt.Sprintf("no rule of %s has the tag %q", c.rules.version, tag)
		f.Hint = "write a tag such as attack-sqli, attack-xss or language-php"
	case slices.ContainsFunc(ids, func(id int) bool { return !detection(id) }):
		f.Code = "waf-vital-rule"
		f.Text = fmt.Sprintf("the tag %q also covers rules that make the rule set work", tag)
		f.Hint = "exclude a narrower tag, or set mode: off"
	default:
		return f, false
	}
	return f, true
}

// expected returns how many rules an engine with w's settings must hold.
func (x *ruleIndex) expected(w model.WAF) int {
	removed := map[int]bool{}
	for _, e := range w.Exclude {
		if e.Target != "" {
			continue
		}
		if e.Rule != 0 {
			removed[e.Rule] = true
		}
		for _, id := range x.byTag[e.Tag] {
			removed[id] = true
		}
	}
	for _, tag := range idleTags(w) {
		for _, id := range x.byTag[tag] {
			removed[id] = true
		}
	}
	answers := inspectsAnswers(w)
	count := x.markers
	if !answers {
		count -= x.answerMarkers
	}
	for id, info := range x.byID {
		if !removed[id] && (answers || !info.answer) {
			count++
		}
	}
	return count
}
