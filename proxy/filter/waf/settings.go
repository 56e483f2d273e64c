package waf

import (
	"strings"

	"github.com/palisade-security/palisade/model"
)

// The modes of inspection.
const (
	modeBlock  = "block"
	modeDetect = "detect"
	modeOff    = "off"
)

const (
	defaultThreshold = 5
	defaultBody      = model.Size(1 << 20)
	maxBody          = model.Size(64 << 20) // Coraza copies the body; beyond this a WAF is the wrong tool
)

// withDefaults fills in what a route leaves open. Body is the route's own bound, 0 if unknown.
func withDefaults(w model.WAF, body model.Size) model.WAF {
	if w.Mode == "" {
		w.Mode = modeBlock
	}
	if w.Paranoia == 0 {
		w.Paranoia = 1
	}
	if w.Threshold == 0 {
		w.Threshold = defaultThreshold
	}
	if w.Body == 0 {
		w.Body = body
	}
	if w.Body == 0 {
		w.Body = defaultBody
	}
	return w
}

func inspectsAnswers(w model.WAF) bool { return w.Answers != nil && *w.Answers }

// directives returns the SecLang text for w. It is the key by which engines are shared, so it holds all that
// an engine depends on and nothing else: neither mode nor body bound, which belong to the filter.
func (x *ruleIndex) directives(w model.WAF, o Options) string {
	var b strings.Builder
	b.WriteString(baseDirectives)
	writeSetup(&b, w)
	answers := inspectsAnswers(w)
	if answers {
		b.WriteString(answerDirectives)
	}
	b.WriteString(o.Setup)
	b.WriteString("Include " + requestRuleFiles + "\n")
	if answers {
		b.WriteString("Include " + answerRuleFiles + "\n")
	}
	for _, e := range w.Exclude {
		if answers || !x.byID[e.Rule].answer {
			b.WriteString(exclusionDirective(e))
		}
	}
	for _, tag := range idleTags(w) {
		b.WriteString("SecRuleRemoveByTag \"" + tag + "\"\n")
	}
	return b.String()
}

// sizeText writes a size as the model does.
func sizeText(s model.Size) string {
	b, err := s.MarshalText()
	if err != nil {
		return ""
	}
	return string(b)
}
