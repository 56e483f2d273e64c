package event

// Act is what the event of an act has: what was done to the fleet or happened to its identities, and is neither a request nor a
// connection that was carried. Of the fields of Event it uses: Time, ID, Fleet, Snapshot; Client and ClientPort, from where it
// was done, if that is known; Allowed, which is whether the outcome is Done. The others are not written.
type Act struct {
	Kind    Kind
	Who     string // administrator, or SPIFFE ID
	Role    string // of an administrator
	Object  string // what it was done to: a service, a serial number, the version of a model
	Outcome Result
	Reason  string // stable code, where one kind has several: "revoked", "unknown_trust_domain"
	Text    string // for people, without secrets
	Proxy   string // where it was seen: the name of a service, "edge" or "control"
	Omitted int64  // how many like it were left out of the record since the one before
}

// Result is what came of an act.
type Result string

// The results. Anything else reads as Failed.
const (
	Done   Result = "done"
	Denied Result = "denied" // whoever asked for it may not
	Failed Result = "failed"
)

// Known returns r if it is one of the results, else Failed.
func (r Result) Known() Result {
	switch r {
	case Done, Denied, Failed:
		return r
	}
	return Failed
}

// Kind is what was done or has happened. The kinds are a closed set, so that programs can tell them apart.
type Kind string

// What administrators do.
const (
	KindApplied    Kind = "applied"      // a model was put in force, or refused
	KindRolledBack Kind = "rolled-back"  // a model that was being put in force was taken back
	KindRevoked    Kind = "revoked"      // a service, serial or node was revoked
	KindRestored   Kind = "restored"     // a revocation was taken back
	KindJoinToken  Kind = "join-token"   // a token with which a proxy may join was made
	KindAdminister Kind = "administered" // something else was asked for, most often in vain
)

// What happens to identities.
const (
	KindEnrolled        Kind = "enrolled"         // a proxy proved what it is, and has an identity
	KindEnrolment       Kind = "enrolment"        // it could not: no proof, none that matches, several that do
	KindIdentity        Kind = "identity"         // an identity was asked for that the asker may not have
	KindRenewal         Kind = "renewal"          // an SVID could not be renewed, or can be again
	KindEnding          Kind = "svid-ending"      // an SVID is close to its end and not renewed
	KindExpired         Kind = "svid-expired"     // an SVID has ended
	KindIdentityRevoked Kind = "identity-revoked" // the own identity of a proxy was taken back
	KindStale           Kind = "stale"            // control is away for longer than an SVID lives: served on, or stopped
	KindFresh           Kind = "fresh"            // that is over
	KindTook            Kind = "snapshot"         // a proxy took a snapshot, or rejected it
	KindState           Kind = "state"            // what a proxy keeps on disk is lost or cannot be kept
	KindStatement       Kind = "statement"        // what seems to be said by control is not to be believed
)

// What happens to connections.
const (
	KindRefused Kind = "connection-refused" // a sidecar refused who connected, before anything was asked
	KindCut     Kind = "connections-cut"    // connections were cut since who is at their end is revoked
	KindBypass  Kind = "bypass"             // a service tried to get past its sidecar
	KindIntake  Kind = "intake-refused"     // log records were refused: of nobody who is declared, beyond a quota, too large
)

// What happens to the record itself.
const (
	KindLost     Kind = "events-lost"    // events are gone before they were where they are kept: how many, and why
	KindForged   Kind = "events-refused" // a proxy delivered events that it cannot have made
	KindDeleted  Kind = "events-deleted" // events were deleted since they were old: how many in all, and their numbers
	KindLedger   Kind = "ledger"         // the ledger and the store of events do not agree
	KindHeld     Kind = "hold"           // events are held: they are not deleted for their age
	KindReleased Kind = "hold-released"  // they are not held any more
	KindErased   Kind = "erased"         // the key of a person was destroyed: nobody can tell any more whom a pseudonym means
)

// KindOther is what none of the others is.
const KindOther Kind = "other"

// The classes of acts (schema.ocsf.io).
const (
	classAuthentication   = 3002
	classEntityManagement = 3004
	classAPIActivity      = 6003
)

// form is how acts of a kind are written in OCSF.
type form struct {
	kind      Kind
	class     int
	activity  string // as members of the event
	done, not string // severities by outcome, as members of the event
}

// The activities of OCSF that acts are, as members of the event.
const (
	apiCreate = `"activity_id":1,"activity_name":"Create","type_uid":600301`
	apiUpdate = `"activity_id":3,"activity_name":"Update","type_uid":600303`
	apiDelete = `"activity_id":4,"activity_name":"Delete","type_uid":600304`
	apiOther  = `"activity_id":99,"activity_name":"Other","type_uid":600399`

	logon = `"activity_id":1,"activity_name":"Logon","type_uid":300201`

	entityUpdate  = `"activity_id":3,"activity_name":"Update","type_uid":300403`
	entityDelete  = `"activity_id":4,"activity_name":"Delete","type_uid":300404`
	entityEnroll  = `"activity_id":6,"activity_name":"Enroll","type_uid":300406`
	entityDisable = `"activity_id":9,"activity_name":"Disable","type_uid":300409`
	entitySuspend = `"activity_id":12,"activity_name":"Suspend","type_uid":300412`
	entityResume  = `"activity_id":13,"activity_name":"Resume","type_uid":300413`
	entityOther   = `"activity_id":99,"activity_name":"Other","type_uid":300499`

	networkReset  = `"activity_id":3,"activity_name":"Reset","type_uid":400103`
	networkRefuse = `"activity_id":5,"activity_name":"Refuse","type_uid":400105`

	severityHigh = `"severity_id":4,"severity":"High"`
)

// forms is a constant table.
var forms = []form{
	{KindApplied, classAPIActivity, apiUpdate, severityInformational, severityLow},
	{KindRolledBack, classAPIActivity, apiUpdate, severityMedium, severityMedium},
	{KindRevoked, classAPIActivity, apiCreate, severityInformational, severityLow},
	{KindRestored, classAPIActivity, apiDelete, severityInformational, severityLow},
	{KindJoinToken, classAPIActivity, apiCreate, severityInformational, severityLow},
	{KindAdminister, classAPIActivity, apiOther, severityInformational, severityLow},
	{KindEnrolled, classEntityManagement, entityEnroll, severityInformational, severityLow},
	{KindEnrolment, classAuthentication, logon, severityInformational, severityMedium},
	{KindIdentity, classAuthentication, logon, severityInformational, severityMedium},
	{KindRenewal, classEntityManagement, entityUpdate, severityInformational, severityLow},
	{KindEnding, classEntityManagement, entityUpdate, severityMedium, severityMedium},
	{KindExpired, classEntityManagement, entitySuspend, severityHigh, severityHigh},
	{KindIdentityRevoked, classEntityManagement, entityDisable, severityMedium, severityMedium},
	{KindStale, classEntityManagement, entitySuspend, severityHigh, severityHigh},
	{KindFresh, classEntityManagement, entityResume, severityInformational, severityLow},
	{KindTook, classEntityManagement, entityUpdate, severityInformational, severityMedium},
	{KindState, classEntityManagement, entityUpdate, severityInformational, severityMedium},
	{KindStatement, classAuthentication, logon, severityInformational, severityHigh},
	{KindRefused, classNetworkActivity, networkRefuse, severityLow, severityLow},
	{KindCut, classNetworkActivity, networkReset, severityInformational, severityInformational},
	{KindBypass, classNetworkActivity, networkRefuse, severityMedium, severityMedium},
	{KindLost, classEntityManagement, entityOther, severityHigh, severityHigh},
	{KindForged, classAPIActivity, apiOther, severityHigh, severityHigh},
	{KindIntake, classNetworkActivity, networkRefuse, severityLow, severityLow},
	{KindDeleted, classEntityManagement, entityDelete, severityInformational, severityMedium},
	{KindLedger, classEntityManagement, entityOther, severityHigh, severityHigh},
	{KindHeld, classAPIActivity, apiCreate, severityInformational, severityLow},
	{KindReleased, classAPIActivity, apiDelete, severityMedium, severityLow},
	{KindErased, classAPIActivity, apiDelete, severityMedium, severityLow},
	{KindOther, classEntityManagement, entityOther, severityInformational, severityLow},
}

// formOf returns how acts of a kind are written; unknown ones as KindOther.
func formOf(k Kind) *form {
	for i := range forms {
		if forms[i].kind == k {
			return &forms[i]
		}
	}
	return &forms[len(forms)-1]
}

// Known returns k if it is one of the kinds, else KindOther.
func (k Kind) Known() Kind { return formOf(k).kind }

// Frequent tells whether others than administrators and our own proxies bring acts of a kind about, as often as they like.
func (k Kind) Frequent() bool { return formOf(k).class == classNetworkActivity }

// Kinds lists the kinds of acts.
func Kinds() []Kind {
	out := make([]Kind, len(forms))
	for i := range forms {
		out[i] = forms[i].kind
	}
	return out
}
