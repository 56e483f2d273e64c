package event

import "slices"

// Refusing is the stage that refused: the first that did so for real, else the first that would have but for a dry run; nil if none did.
func (e *Event) Refusing() *Stage {
	var found *Stage
	for i := range e.Trail {
		s := &e.Trail[i]
		if (s.Outcome == OutcomeDeny || s.Outcome == OutcomeError) && (found == nil || found.DryRun && !s.DryRun) {
			found = s
		}
	}
	return found
}

// Refuse writes why a stage refuses. That stands before what the stage has noted by then, so that its cause is the first of its reasons.
func (s *Stage) Refuse(outcome Outcome, why []Reason) {
	s.Outcome, s.Reasons = outcome, slices.Concat(why, s.Reasons)
}

// Cause is the reason for which a stage refused, and not what it noted besides; zero if it named none.
func (s *Stage) Cause() Reason {
	if s == nil || len(s.Reasons) == 0 {
		return Reason{}
	}
	return s.Reasons[0]
}
