package event

// SchemaVersion is the version of the Open Cybersecurity Schema Framework that events are written in
// (schema.ocsf.io, class HTTP Activity), with the profiles host, security_control and trace.
const SchemaVersion = "1.7.0"

const classHTTPActivity = 4002

// activity returns activity_id and its caption for a method.
func activity(method string) (int, string) {
	switch method {
	case "GET":
		return 3, "Get"
	case "POST":
		return 6, "Post"
	case "PUT":
		return 7, "Put"
	case "PATCH":
		return 9, "Patch"
	case "DELETE":
		return 2, "Delete"
	case "HEAD":
		return 4, "Head"
	case "OPTIONS":
		return 5, "Options"
	case "CONNECT":
		return 1, "Connect"
	case "TRACE":
		return 8, "Trace"
	case "":
		return 0, "Unknown"
	}
	return 99, "Other"
}

// verdict is what the decision trail says in OCSF's words.
type verdict struct {
	severityID    int
	severity      string
	dispositionID int
	disposition   string
	alert         bool // the inspection found an attack
	stage         *Stage
}

// judge finds the stage that refused, or would have but for dry run, and names it.
func judge(e *Event) verdict {
	v := verdict{severityID: 1, severity: "Informational", dispositionID: 1, disposition: "Allowed"}
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
		v.severityID, v.severity = 3, "Medium"
	case v.stage != nil || !e.Allowed:
		v.severityID, v.severity = 2, "Low"
	}
	switch {
	case e.Allowed && e.DryRun:
		v.dispositionID, v.disposition = 15, "Detected"
	case e.Allowed:
	case v.stage == nil:
		v.dispositionID, v.disposition = 2, "Blocked"
	default:
		v.dispositionID, v.disposition = refusal(v.stage)
	}
	return v
}

// inspects reports whether the rules of a firewall speak in s.
func inspects(s *Stage) bool { return s.Name == StageInspect || s.Name == StageInspectAnswer }

func refusal(s *Stage) (int, string) {
	if s.Outcome == OutcomeError {
		return 27, "Error"
	}
	switch s.Name {
	case StageAuthenticate, StageAuthorise:
		return 26, "Unauthorized"
	case StageCanonicalise, StageRoute, StageValidate:
		return 25, "Rejected"
	}
	return 2, "Blocked"
}

// succeeded says how the exchange as a whole ended.
func (e *Event) succeeded() (int, string) {
	switch {
	case e.Open:
		return 0, "Unknown"
	case !e.Allowed || e.Aborted != "" || e.Status >= 500:
		return 2, "Failure"
	}
	return 1, "Success"
}
