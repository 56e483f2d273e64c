package model

// SPIFFE IDs of a fleet (SPIFFE ID, section 2). Names and trust domains of a checked model need no escaping.

// EdgeName is the name of the set of listeners that a model declares.
const EdgeName = "edge"

// The names under which platforms know what is no service but takes part: in labels and containers.
const (
	EdgeContainer    = "palisade-edge"
	ControlContainer = "palisade-control"
)

// MeshHost is the suffix under which services know each other besides their bare names: orders.mesh.internal.
const MeshHost = ".mesh.internal"

// ServiceID is the identity of a service.
func ServiceID(trustDomain, service string) string {
	return "spiffe://" + trustDomain + "/service/" + service
}

// EdgeID is the identity of the proxies at the edge.
func EdgeID(trustDomain string) string { return "spiffe://" + trustDomain + "/edge/" + EdgeName }

// ControlID is the identity of control.
func ControlID(trustDomain string) string { return "spiffe://" + trustDomain + "/control" }

// NodeID is the identity of a host, or of a proxy before it has a service.
func NodeID(trustDomain, name string) string { return "spiffe://" + trustDomain + "/node/" + name }
