package policy

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// outcome is what a list of candidates came to.
type outcome struct {
	matched []*rule   // in order
	failed  []failure // in order
	forbids int       // how many of matched forbid
}

// failure is a policy that could not be evaluated.
type failure struct {
	rule    *rule
	message string // Cedar's words; may hold values of the request
}

// All makes a rule a policy set of one: what the index left of it.
func (r *rule) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] { return r.one }

// evaluate decides which of the candidates, whose scopes match already, apply. It evaluates all of them,
// even behind a forbid, because a failure anywhere must be seen. It reuses the candidates' memory.
func evaluate(candidates []*rule, entities types.EntityGetter, req cedar.Request) outcome {
	var o outcome
	matched := candidates[:0]
	for _, r := range candidates {
		if r.rest != nil {
			decision, diagnostic := cedar.Authorize(r, entities, req)
			if len(diagnostic.Errors) > 0 {
				o.failed = append(o.failed, failure{r, diagnostic.Errors[0].Message})
				continue
			}
			if decision != cedar.Allow {
				continue
			}
		}
		matched = append(matched, r)
		if r.effect == cedar.Forbid {
			o.forbids++
		}
	}
	o.matched = matched
	return o
}

// conditional reports whether any candidate has something left to evaluate, and what that reads.
func conditional(candidates []*rule) (needs, bool) {
	var all needs
	found := false
	for _, r := range candidates {
		if r.rest != nil {
			all |= r.needs
			found = true
		}
	}
	return all, found
}
