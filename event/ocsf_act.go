package event

import (
	"cmp"
	"net/netip"
)

const (
	authenticationClassification = `"class_uid":3002,"class_name":"Authentication","category_uid":3,"category_name":"Identity & Access Management"`
	entityClassification         = `"class_uid":3004,"class_name":"Entity Management","category_uid":3,"category_name":"Identity & Access Management"`
	apiClassification            = `"class_uid":6003,"class_name":"API Activity","category_uid":6,"category_name":"Application Activity"`
)

// act writes e as one OCSF API Activity, Authentication, Entity Management or Network Activity.
func (o *object) act(e *Event) {
	a := e.Act
	f := formOf(a.Kind)
	switch f.class {
	case classAPIActivity:
		o.raw(apiClassification)
	case classAuthentication:
		o.raw(authenticationClassification)
	case classNetworkActivity:
		o.raw(networkClassification)
	default:
		o.raw(entityClassification)
	}
	o.raw(f.activity)
	o.exact(`"time":`, e.Time.UnixMilli())
	if a.Outcome == Done {
		o.raw(f.done)
		o.raw(`"status_id":1,"status":"Success"`)
	} else {
		o.raw(f.not)
		o.raw(`"status_id":2,"status":"Failure"`)
	}
	o.str(`"status_code":"`, a.Reason)
	o.str(`"status_detail":"`, a.Text)
	o.actMetadata(e, f.class)
	switch f.class {
	case classAPIActivity:
		o.asked(e)
	case classAuthentication:
		o.proven(e)
	case classNetworkActivity:
		o.connected(e)
	default:
		o.managed(e)
	}
	o.actUnmapped(e)
}

func (o *object) actMetadata(e *Event, class int) {
	if class == classNetworkActivity {
		o.raw(metadata + `["host","security_control"]`)
	} else {
		o.raw(metadata + `["host"]`)
	}
	o.str(`"uid":"`, e.ID)
	o.str(`"correlation_uid":"`, e.ID)
	o.close()
}

// asked writes what an administrator asked for.
func (o *object) asked(e *Event) {
	o.actBy(e.Act)
	o.nest(`"api":`)
	o.must(`"operation":"`, string(e.Act.Kind))
	o.close()
	o.from(e)
	if e.Act.Object != "" {
		o.list(`"resources":`)
		o.open()
		o.must(`"name":"`, e.Act.Object)
		o.close()
		o.endList()
	}
}

// proven writes who could prove what it is, or could not.
func (o *object) proven(e *Event) {
	o.nest(`"user":`)
	o.must(`"uid":"`, e.Act.Who)
	o.exact(`"type_id":`, userTypeService)
	o.close()
	o.from(e)
	o.at(e.Act)
}

// managed writes whose identity it is about.
func (o *object) managed(e *Event) {
	if e.Act.Who != "" {
		o.actBy(e.Act)
	}
	o.nest(`"entity":`)
	o.must(`"name":"`, cmp.Or(e.Act.Object, e.Act.Who))
	o.close()
	if e.Client != "" {
		o.from(e)
	}
}

// connected writes who connected, or tried to, and where.
func (o *object) connected(e *Event) {
	if formOf(e.Act.Kind).activity == networkRefuse {
		o.raw(`"action_id":2,"action":"Denied"`)
		o.raw(dispositionBlocked)
	}
	if e.Act.Who != "" {
		o.actBy(e.Act)
	}
	if e.Client != "" {
		o.from(e)
	}
	o.at(e.Act)
	o.count(e.Act)
}

// count writes how many connections stand behind one event.
func (o *object) count(a *Act) {
	if a.Omitted > 0 {
		o.exact(`"count":`, a.Omitted+1)
	}
}

// actBy writes who did it.
func (o *object) actBy(a *Act) {
	o.nest(`"actor":`)
	o.nest(`"user":`)
	o.must(`"uid":"`, a.Who)
	if a.Role != "" {
		o.exact(`"type_id":`, userTypeAdmin)
		o.list(`"groups":`)
		o.open()
		o.must(`"name":"`, a.Role)
		o.close()
		o.endList()
	}
	o.close()
	o.close()
}

// from writes where it was done from.
func (o *object) from(e *Event) {
	o.nest(`"src_endpoint":`)
	switch _, err := netip.ParseAddr(e.Client); {
	case e.Client == "":
		o.raw(`"name":"palisade"`)
	case err == nil:
		o.must(`"ip":"`, e.Client)
	default:
		o.must(`"name":"`, e.Client)
	}
	o.num(`"port":`, int64(e.ClientPort))
	o.close()
}

// at writes which part of the fleet saw it.
func (o *object) at(a *Act) {
	o.nest(`"dst_endpoint":`)
	o.raw(`"name":"palisade"`)
	o.str(`"svc_name":"`, a.Proxy)
	o.close()
}

// actUnmapped writes what Parse reads an act back from, but for texts that stand elsewhere as they are.
func (o *object) actUnmapped(e *Event) {
	a := e.Act
	o.nest(`"unmapped":`)
	o.num(`"time_ns":`, int64(e.Time.Nanosecond()%nanosPerMilli))
	o.str(`"fleet":"`, e.Fleet)
	o.str(`"snapshot":"`, e.Snapshot)
	o.nest(`"act":`)
	o.must(`"kind":"`, string(a.Kind))
	o.str(`"who":"`, a.Who)
	o.str(`"role":"`, a.Role)
	o.str(`"object":"`, a.Object)
	o.must(`"outcome":"`, string(a.Outcome))
	o.str(`"proxy":"`, a.Proxy)
	o.num(`"omitted":`, a.Omitted)
	o.str(`"client":"`, e.Client)
	o.num(`"client_port":`, int64(e.ClientPort))
	o.close()
	o.close()
}
