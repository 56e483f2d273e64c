package policy

import (
	"regexp"
	"strings"

	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// Words of the type checker that get a place and a hint of our own.
const (
	noAction = "unable to find an applicable action given the policy scope constraints"
	unsafe   = "unable to guarantee safety of access to optional attribute"
)

// attributeName finds the attribute that a message of the type checker is about.
var attributeName = regexp.MustCompile("attribute `([^`]+)`")

// types validates a policy strictly against the schema.
func (c *compiler) types(r *rule) bool {
	err := c.validator.Policy("", r.tree)
	if err == nil {
		return true
	}
	seen := map[string]bool{}
	var messages []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line, _, _ = strings.Cut(line, " for Action::") // the context is the same for all
		// Entities that the model does not declare have been reported with a better message.
		if !seen[line] && !strings.HasPrefix(line, "unrecognized action") {
			messages = append(messages, line)
		}
		seen[line] = true
	}
	for _, line := range messages {
		if line == noAction && len(seen) > 1 {
			continue // a consequence of the others
		}
		c.find(c.typeFinding(r, line))
	}
	return false
}

// typeFinding turns a message of the type checker into a finding.
func (c *compiler) typeFinding(r *rule, message string) model.Finding {
	f := model.Finding{
		Severity: model.Error, Code: "policy-type", Position: r.at, Text: "the policy does not fit the schema: " + message,
	}
	if m := attributeName.FindStringSubmatch(message); m != nil {
		f.Position = r.locate(m[1][strings.LastIndexByte(m[1], '.')+1:])
	}
	kind, isKind := r.tree.Principal.(xast.ScopeTypeIs)
	switch {
	case message == noAction:
		f.Text = "the scope can match no request"
		f.Hint = "principals are User (in Role) and Anonymous, actions are methods, resources are Route (in Service)"
		if c.meshed() {
			f.Hint = "principals are User (in Role), Anonymous and Service, actions are methods, resources are Route (in Service)"
		}
	case strings.Contains(message, "`Anonymous`") && (!isKind || kind.Type != typeUser):
		f.Hint = "anonymous principals have no attributes: begin with permit (principal is User, ...)"
	case strings.Contains(message, "`Service`") && (!isKind || kind.Type != typeService):
		f.Hint = "between services the calling service is the principal: begin with permit (principal is User, ...), or ask for context.user"
	case strings.HasPrefix(message, unsafe):
		f.Hint = "ask first: context has acr && context.acr == ..."
	}
	return f
}
