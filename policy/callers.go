package policy

import (
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// declared is a route that is decided about, and in whose name.
type declared struct {
	*model.ResolvedRoute
	edge    string // SPIFFE ID of the edge
	outward bool   // a path of another service that the slice's own service may ask: decided about over there
}

// routesOf returns every route of a snapshot: its exposures, and what services ask of each other.
func routesOf(snap *model.Snapshot) []declared {
	edge := model.EdgeID(snap.TrustDomain)
	out := make([]declared, 0, len(snap.Routes))
	for i := range snap.Routes {
		out = append(out, declared{ResolvedRoute: &snap.Routes[i], edge: edge})
	}
	for i := range snap.Services {
		for n := range snap.Services[i].Serve {
			out = append(out, declared{&snap.Services[i].Serve[n], edge, snap.Self != ""})
		}
	}
	return out
}

// between tells whether services ask in their own name. The edge asks in the name of its clients, so that what is
// exposed is decided about alike at the edge and at the sidecar behind it.
func (r declared) between() bool {
	return len(r.Callers) > 0 && (len(r.Callers) != 1 || r.Callers[0] != r.edge)
}

// callerUID is the principal that a SPIFFE ID stands for: a service of the fleet by its name, any other by the
// whole ID, which is no name.
func callerUID(trustDomain, id string) cedar.EntityUID {
	if name, ok := strings.CutPrefix(id, model.ServiceID(trustDomain, "")); ok {
		id = name
	}
	return serviceUID(id)
}

// callers are who may ask on a route. Nobody else may, whatever policies say.
type callers struct {
	byID     map[string]cedar.EntityUID // by SPIFFE ID; the edge's entity is empty, for it asks in the name of users. nil: clients of the edge
	between  bool
	service  string // who is asked
	template string
	position string
	names    string // of all, for people
	domain   string // trust domain
}

// maxNamed bounds how many callers a reason lists.
const maxNamed = 10

func (c *compiler) callersOf(r declared) callers {
	out := callers{between: r.between(), service: r.Service, template: r.Path, position: place(r.Position), domain: c.snap.TrustDomain}
	if len(r.Callers) == 0 {
		return out
	}
	out.byID = make(map[string]cedar.EntityUID, len(r.Callers))
	var names []string
	for _, id := range r.Callers {
		uid := cedar.EntityUID{}
		if id != r.edge {
			uid = callerUID(c.snap.TrustDomain, id)
		}
		out.byID[id] = uid
		if len(names) < maxNamed {
			names = append(names, out.name(id))
		}
	}
	out.names = strings.Join(names, ", ")
	if more := len(r.Callers) - len(names); more > 0 {
		out.names += " and " + strconv.Itoa(more) + " more"
	}
	return out
}

// asks returns the service that asks, which is empty where the end user decides. It reports false for who is not
// declared.
func (c *callers) asks(workload string) (service cedar.EntityUID, ok bool) {
	if c.byID == nil {
		return cedar.EntityUID{}, true
	}
	service, ok = c.byID[workload]
	return service, ok
}

// name is what people call a workload.
func (c *callers) name(id string) string {
	switch name, ok := strings.CutPrefix(id, model.ServiceID(c.domain, "")); {
	case ok:
		return "service " + name
	case id == model.EdgeID(c.domain):
		return "the edge"
	case id == "":
		return "a caller without an identity"
	}
	return "workload " + id
}

// undeclared is the decision about a caller that the model does not name.
func (c *callers) undeclared(method, route, workload string) Decision {
	return Decision{Reasons: []event.Reason{{
		Code: CodeUndeclared,
		Text: c.name(workload) + " may not call " + c.service + ": " + method + " " + c.template + " is not declared for it",
		Data: map[string]string{
			"caller": workload, "service": c.service, "method": method, "path": c.template, "route": route, "declared": c.names,
		},
		Position: c.position,
	}}}
}
