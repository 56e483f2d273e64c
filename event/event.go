// Package event is the one record of what Palisade decided: an Event for each request, and for each connection that
// is no HTTP, with the trail of every stage that looked at it, for each act on the fleet and its identities, and for log records of others that are kept beside them. It depends on the standard library only. It holds no storage and no
// transport; for those see the rooms above it.
package event

import "time"

// Outcome is what a stage decided.
type Outcome uint8

// The outcomes of a stage. The zero value is a refusal to decide, so that a forgotten assignment never
// reads as a pass.
const (
	OutcomeError Outcome = iota // the stage could not decide; the engine refuses
	OutcomePass                 // the stage let the request go on
	OutcomeDeny                 // the stage refused the request
	OutcomeSkip                 // the stage does not apply to this request
)

// String returns the name used in JSON and on the terminal.
func (o Outcome) String() string {
	switch o {
	case OutcomePass:
		return "pass"
	case OutcomeDeny:
		return "deny"
	case OutcomeSkip:
		return "skip"
	case OutcomeError:
	}
	return "error"
}

// The names of the stages, in the order a request meets them.
const (
	StageCanonicalise   = "canonicalise"
	StageRoute          = "route"
	StageLimitAddress   = "limit-address"
	StageAuthenticate   = "authenticate"
	StageLimitPrincipal = "limit-principal"
	StageAuthorise      = "authorise"
	StageInspect        = "inspect"
	StageValidate       = "validate"
	StageExchange       = "exchange"
	StageForward        = "forward"
	StageInspectAnswer  = "inspect-answer"
)

// StageResolve is where the name of a host outside the fleet becomes addresses that may be reached.
const StageResolve = "resolve"

// Reason is one ground of a decision, as data: what was found, which rule or policy said so and where that
// stands in the user's files.
type Reason struct {
	Code     string            `json:"code"`               // stable, kebab-case: "no-permit", "token-expired"
	Text     string            `json:"text,omitempty"`     // one sentence for people, without secrets
	Policy   string            `json:"policy,omitempty"`   // policy id or rule id
	Position string            `json:"position,omitempty"` // file:line:col in the user's files
	Data     map[string]string `json:"data,omitempty"`     // what else a reader or a program needs to explain it
}

// Stage is one step of the decision trail.
type Stage struct {
	Name    string        `json:"name"`
	Outcome Outcome       `json:"outcome"`
	DryRun  bool          `json:"dry_run,omitempty"` // decided and recorded, not enforced
	Took    time.Duration `json:"took,omitempty"`
	Reasons []Reason      `json:"reasons,omitempty"`
}

// MarshalText writes the outcome by name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome by name; an unknown name is an error outcome.
func (o *Outcome) UnmarshalText(b []byte) error {
	*o = outcomeNamed(string(b))
	return nil
}

func outcomeNamed(name string) Outcome {
	for _, o := range []Outcome{OutcomePass, OutcomeDeny, OutcomeSkip} {
		if o.String() == name {
			return o
		}
	}
	return OutcomeError
}
