package event

import "strings"

// ByEdge is what By says of what an edge saw.
const ByEdge = "edge"

// SeenAt is where a request or a connection was seen within the mesh; unknown: at the edge, or it is neither.
func (e *Event) SeenAt() Side {
	if e.Connection != nil {
		return e.Connection.Side
	}
	return e.Side
}

// By names who recorded an event: "edge", "control", or the service whose sidecar it was; of a log record the service that wrote it. Control takes
// from nobody what another names (control, "credible").
func (e *Event) By() string {
	switch {
	case e.Log != nil:
		return e.Service
	case e.Act != nil:
		return e.Act.Proxy
	case e.SeenAt() == SideUnknown:
		return ByEdge
	}
	service, _, _ := strings.Cut(e.Listener, "/")
	return service
}
