package event

// Class returns the OCSF class that e is written in: its class_uid and class_name.
func (e *Event) Class() (uid int, name string) {
	switch {
	case e.Log != nil:
		return 0, "Base Event"
	case e.Act == nil && e.Connection == nil:
		return classHTTPActivity, "HTTP Activity"
	case e.Act == nil:
		return classNetworkActivity, "Network Activity"
	}
	switch uid = formOf(e.Act.Kind).class; uid {
	case classAuthentication:
		return uid, "Authentication"
	case classAPIActivity:
		return uid, "API Activity"
	case classNetworkActivity:
		return uid, "Network Activity"
	}
	return uid, "Entity Management"
}

// SeverityID returns the severity_id that e is written with: 1 informational, 2 low, 3 medium, 4 high; of log records also 0,
// unknown, and 6, fatal.
func (e *Event) SeverityID() int {
	var members string
	switch {
	case e.Log != nil:
		members = e.Log.Severity.ocsf()
	case e.Act == nil:
		members = judge(e).severity
	case e.Act.Outcome == Done:
		members = formOf(e.Act.Kind).done
	default:
		members = formOf(e.Act.Kind).not
	}
	return int(members[len(`"severity_id":`)] - '0')
}

// UID returns the metadata.uid that e is written with: its id, apart for a record that a later one closes.
func (e *Event) UID() string {
	if e.Open && e.Act == nil {
		return e.ID + ":open"
	}
	return e.ID
}
