package waf

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/palisade-security/palisade/model"
)

// ruleInfo is what a rule says of itself.
type ruleInfo struct {
	id      int
	message string // without macros
	tags    []string
	answer  bool // it looks at answers
}

// ruleIndex knows the rules of the linked rule set by id and tag. It is immutable.
type ruleIndex struct {
	version       string // "OWASP_CRS/4.25.0"
	byID          map[int]ruleInfo
	byTag         map[string][]int // sorted ids
	markers       int              // SecMarker lines, which the engine counts as rules
	answerMarkers int              // those of them among the rules for answers
}

// detection reports whether a rule looks for something, rather than setting up or adding up. Only such rules
// can be excluded: without the others the set would not block at all.
func detection(id int) bool { return id >= 911000 && id < 949000 || id >= 950000 && id < 959000 }

// readRules reads id, message and tags of every rule from the texts that the engine will compile. That the
// engine then holds exactly these is what SelfTest proves.
func readRules(o Options) (*ruleIndex, error) {
	x := &ruleIndex{byID: map[int]ruleInfo{}, byTag: map[string][]int{}}
	for _, pattern := range [...]string{requestRuleFiles, answerRuleFiles, "@coraza.conf-recommended", "@crs-setup.conf.example"} {
		names, err := fs.Glob(ruleFiles{coreruleset.FS}, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := fs.ReadFile(ruleFiles{coreruleset.FS}, name)
			if err != nil {
				return nil, err
			}
			if err := x.add(string(text), pattern == answerRuleFiles); err != nil {
				return nil, fmt.Errorf("reading %q: %w", name, err)
			}
		}
	}
	var b strings.Builder
	b.WriteString(baseDirectives)
	writeSetup(&b, model.WAF{})
	if err := x.add(b.String()+o.Setup, false); err != nil {
		return nil, err
	}
	for _, ids := range x.byTag {
		slices.Sort(ids)
	}
	return x, nil
}

func (x *ruleIndex) add(text string, answer bool) error {
	for directive := range logicalLines(text) {
		if v, ok := strings.CutPrefix(directive, "SecComponentSignature "); ok {
			x.version = strings.Trim(v, `" `)
		}
		if strings.HasPrefix(directive, "SecMarker ") {
			x.markers++
			if answer {
				x.answerMarkers++
			}
		}
		if !strings.HasPrefix(directive, "SecRule ") && !strings.HasPrefix(directive, "SecAction ") {
			continue
		}
		info, ok, err := parseRule(directive)
		if err != nil {
			return err
		}
		if !ok { // a link of a chain has no id of its own
			continue
		}
		if _, twice := x.byID[info.id]; twice {
			return fmt.Errorf("rule %d stands twice", info.id)
		}
		info.answer = answer
		x.byID[info.id] = info
		for _, tag := range info.tags {
			x.byTag[tag] = append(x.byTag[tag], info.id)
		}
	}
	return nil
}

// logicalLines yields the directives of a SecLang text: comments dropped, continued lines joined.
func logicalLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var b strings.Builder
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if b.Len() == 0 && (line == "" || line[0] == '#') {
				continue
			}
			part, continued := strings.CutSuffix(line, `\`)
			b.WriteString(part)
			if continued {
				continue
			}
			if !yield(b.String()) {
				return
			}
			b.Reset()
		}
	}
}

var (
	idPattern  = regexp.MustCompile(`(?:^|[",\s])id:'?(\d+)`)
	msgPattern = regexp.MustCompile(`[",\s]msg:'((?:[^'\\]|\\.)*)'`)
	tagPattern = regexp.MustCompile(`[",\s]tag:'([^']*)'`)
	// macroPattern also takes the brackets around a macro and what stands before a colon inside them.
	macroPattern = regexp.MustCompile(`\s*\([^()]*%\{[^}]*\}[^()]*\)|%\{[^}]*\}`)
)

// parseRule reads a rule's actions: the last quoted string of the directive.
func parseRule(directive string) (ruleInfo, bool, error) {
	actions := directive
	if i := lastQuoted(directive); i >= 0 {
		actions = directive[i:]
	}
	m := idPattern.FindStringSubmatch(actions)
	if m == nil {
		return ruleInfo{}, false, nil
	}
	id, err := strconv.Atoi(m[1])
	if err != nil {
		return ruleInfo{}, false, fmt.Errorf("reading a rule's id: %w", err)
	}
	info := ruleInfo{id: id}
	if m := msgPattern.FindStringSubmatch(actions); m != nil {
		info.message = strings.TrimSpace(macroPattern.ReplaceAllString(m[1], ""))
	}
	for _, m := range tagPattern.FindAllStringSubmatch(actions, -1) {
		info.tags = append(info.tags, m[1])
	}
	return info, true, nil
}

// lastQuoted returns where the last double-quoted string of s begins, -1 if there is none.
func lastQuoted(s string) int {
	end := strings.LastIndexByte(s, '"')
	for i := end - 1; i >= 0; i-- {
		if s[i] == '"' && (i == 0 || s[i-1] != '\\') {
			return i
		}
	}
	return -1
}

// nearest returns the known rule ids around id, for hints.
func (x *ruleIndex) nearest(id int) int {
	best := 0
	for known := range x.byID {
		if !detection(known) {
			continue
		}
		if d, b := distance(known, id), distance(best, id); d < b || d == b && known < best {
			best = known
		}
	}
	return best
}

func distance(a, b int) int { return max(a-b, b-a) }
