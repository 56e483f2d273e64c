package event

import "net/netip"

const (
	classNetworkActivity = 4001

	networkClassification = `"class_uid":4001,"class_name":"Network Activity","category_uid":4,"category_name":"Network Activity"`
)

// connection writes e as one OCSF Network Activity.
func (o *object) connection(e *Event, v verdict) {
	o.raw(networkClassification)
	o.raw(lifecycle(e))
	o.exact(`"time":`, e.Time.UnixMilli())
	o.raw(v.severity)
	o.raw(connectionStatus(e))
	o.str(`"status_detail":"`, e.Problem)
	o.num(`"duration":`, e.Took.Milliseconds())
	o.metadata(e)
	o.control(e, v)
	o.nest(`"connection_info":`)
	o.str(`"uid":"`, e.ID)
	if e.Connection.Side == SideEgress {
		o.raw(`"direction_id":2,"direction":"Outbound"`)
	} else {
		o.raw(`"direction_id":3,"direction":"Lateral"`)
	}
	o.raw(`"protocol_name":"tcp","protocol_num":6`)
	o.close()
	o.endpoints(e)
	o.actor(e)
	o.trace(e)
	o.unmapped(e)
}

// lifecycle says how far a connection came, as members of the event.
func lifecycle(e *Event) string {
	switch {
	case e.Open:
		return `"activity_id":1,"activity_name":"Open","type_uid":400101`
	case !e.Allowed:
		return `"activity_id":5,"activity_name":"Refuse","type_uid":400105`
	case e.Problem != "":
		return `"activity_id":4,"activity_name":"Fail","type_uid":400104`
	case e.Aborted != "":
		return `"activity_id":3,"activity_name":"Reset","type_uid":400103`
	}
	return `"activity_id":2,"activity_name":"Close","type_uid":400102`
}

// connectionStatus says how the connection as a whole ended, as members of the event.
func connectionStatus(e *Event) string {
	switch {
	case e.Open:
		return `"status_id":0,"status":"Unknown"`
	case !e.Allowed || e.Aborted != "" || e.Problem != "":
		return `"status_id":2,"status":"Failure"`
	}
	return `"status_id":1,"status":"Success"`
}

// reached writes the address behind the destination's name.
func (o *object) reached(e *Event) {
	if at, err := netip.ParseAddrPort(e.Upstream); err == nil {
		o.dst = append(at.Addr().AppendTo(append(o.dst, `"ip":"`...)), `",`...)
	}
}
