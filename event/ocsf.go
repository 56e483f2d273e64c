package event

// SchemaVersion is the version of the Open Cybersecurity Schema Framework that events are written in
// (schema.ocsf.io, classes HTTP Activity, Network Activity, Authentication, Entity Management, API Activity and Base Event), with the profiles host, security_control and trace.
const SchemaVersion = "1.7.0"

const classHTTPActivity = 4002

// activity returns what a method is in OCSF, as members of the event; false if there is no word for it.
func activity(method string) (string, bool) {
	switch method {
	case "GET":
		return `"activity_id":3,"activity_name":"Get","type_uid":400203`, true
	case "POST":
		return `"activity_id":6,"activity_name":"Post","type_uid":400206`, true
	case "PUT":
		return `"activity_id":7,"activity_name":"Put","type_uid":400207`, true
	case "PATCH":
		return `"activity_id":9,"activity_name":"Patch","type_uid":400209`, true
	case "DELETE":
		return `"activity_id":2,"activity_name":"Delete","type_uid":400202`, true
	case "HEAD":
		return `"activity_id":4,"activity_name":"Head","type_uid":400204`, true
	case "OPTIONS":
		return `"activity_id":5,"activity_name":"Options","type_uid":400205`, true
	case "CONNECT":
		return `"activity_id":1,"activity_name":"Connect","type_uid":400201`, true
	case "TRACE":
		return `"activity_id":8,"activity_name":"Trace","type_uid":400208`, true
	case "":
		return `"activity_id":0,"activity_name":"Unknown","type_uid":400200`, true
	}
	return "", false
}

// verdict is what the decision trail says in OCSF's words.
type verdict struct {
	severity    string // as members of the event
	disposition string // as members of the event
	alert       bool   // the inspection found an attack
	stage       *Stage
}

// The severities and dispositions of OCSF, as members of an event.
const (
	severityInformational = `"severity_id":1,"severity":"Informational"`
	severityLow           = `"severity_id":2,"severity":"Low"`
	severityMedium        = `"severity_id":3,"severity":"Medium"`

	dispositionAllowed      = `"disposition_id":1,"disposition":"Allowed"`
	dispositionBlocked      = `"disposition_id":2,"disposition":"Blocked"`
	dispositionDetected     = `"disposition_id":15,"disposition":"Detected"`
	dispositionRejected     = `"disposition_id":25,"disposition":"Rejected"`
	dispositionUnauthorized = `"disposition_id":26,"disposition":"Unauthorized"`
	dispositionError        = `"disposition_id":27,"disposition":"Error"`
)

// judge finds the stage that refused, or would have but for dry run, and names it.
func judge(e *Event) verdict {
	v := verdict{severity: severityInformational, disposition: dispositionAllowed}
	for i := range e.Trail {
		if s := &e.Trail[i]; s.Outcome == OutcomeDeny || s.Outcome == OutcomeError {
			if v.stage == nil || v.stage.DryRun && !s.DryRun {
				v.stage = s
			}
			v.alert = v.alert || inspects(s) && s.Outcome == OutcomeDeny
		}
	}
	switch {
	case v.alert:
		v.severity = severityMedium
	case v.stage != nil || !e.Allowed:
		v.severity = severityLow
	}
	switch {
	case e.Allowed && e.DryRun:
		v.disposition = dispositionDetected
	case e.Allowed:
	case v.stage == nil:
		v.disposition = dispositionBlocked
	default:
		v.disposition = refusal(v.stage)
	}
	return v
}

// inspects reports whether the rules of a firewall speak in s.
func inspects(s *Stage) bool { return s.Name == StageInspect || s.Name == StageInspectAnswer }

func refusal(s *Stage) string {
	if s.Outcome == OutcomeError {
		return dispositionError
	}
	switch s.Name {
	case StageAuthenticate, StageAuthorise, StageExchange:
		return dispositionUnauthorized
	case StageCanonicalise, StageRoute, StageValidate:
		return dispositionRejected
	}
	return dispositionBlocked
}

// status says how the exchange as a whole ended, as members of the event.
func status(e *Event) string {
	switch {
	case e.Open:
		return `"status_id":0,"status":"Unknown"`
	case !e.Allowed || e.Aborted != "" || e.Status >= 500:
		return `"status_id":2,"status":"Failure"`
	}
	return `"status_id":1,"status":"Success"`
}
