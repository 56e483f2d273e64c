package waf

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"

	"github.com/palisade-security/palisade/model"
)

// An engine does without what can never come to bear: rules for answers where none is inspected, rules above its
// paranoia level, which the rule set itself skips at every request, and the text of a match, which holds values
// of the request, that nothing here records (a trace does, see Options).

// The files of the rule set, by what their rules look at.
const (
	requestRuleFiles = "@owasp_crs/REQUEST-*.conf"
	answerRuleFiles  = "@owasp_crs/RESPONSE-*.conf"
)

const maxParanoia = 4

// idleTags returns the tags of the rules that w's paranoia level leaves out.
func idleTags(w model.WAF) []string {
	var out []string
	for level := w.Paranoia + 1; level <= maxParanoia; level++ {
		out = append(out, "paranoia-level/"+strconv.Itoa(level))
	}
	return out
}

// ruleFiles is the rule set without the texts of matches. Coraza expands them for every rule that it looks at,
// whether it matches or not, which is an eighth of what a plain request costs.
type ruleFiles struct{ fs.FS }

// logdata is an action on a line of its own between others.
var logdata = regexp.MustCompile(`(?m)^[ \t]+logdata:'(?:[^'\\\n]|\\.)*',\\\n`)

// ReadFile implements fs.ReadFileFS.
func (f ruleFiles) ReadFile(name string) ([]byte, error) {
	text, err := fs.ReadFile(f.FS, name)
	if err != nil || path.Ext(name) != ".conf" {
		return text, err
	}
	return logdata.ReplaceAll(text, nil), nil
}
