package event_test

import (
	"testing"

	"github.com/palisade-security/palisade/event"
)

// TestCause names what refused, not what was noted before, and of several stages the one that refused for real.
func TestCause(t *testing.T) {
	noted := event.Stage{Name: event.StageValidate, Reasons: []event.Reason{{Code: "undeclared-parameter"}}}
	noted.Refuse(event.OutcomeDeny, []event.Reason{{Code: "body-invalid"}, {Code: "parameter-invalid"}})
	if got := noted.Cause().Code; got != "body-invalid" || len(noted.Reasons) != 3 || noted.Outcome != event.OutcomeDeny {
		t.Errorf("%q of %v", got, noted.Reasons)
	}
	dry := event.Stage{Name: event.StageInspect, Outcome: event.OutcomeDeny, DryRun: true}
	e := event.Event{Trail: []event.Stage{{Name: event.StageRoute, Outcome: event.OutcomePass}, dry, noted}}
	if got := e.Refusing(); got == nil || got.Name != event.StageValidate {
		t.Errorf("%+v", got)
	}
	e.Trail = e.Trail[:2]
	if got := e.Refusing(); got == nil || got.Name != event.StageInspect || got.Cause().Code != "" {
		t.Errorf("%+v", got)
	}
	e.Trail = e.Trail[:1]
	if e.Refusing().Cause().Code != "" {
		t.Error("nobody refused")
	}
}
