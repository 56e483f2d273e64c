package admin

import (
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// The kinds of what is revoked; see identity/revocation.
const (
	kindService = "service"
	kindSerial  = "serial"
	kindNode    = "node"
)

// Target reads what people write for what is to be revoked or restored: service/NAME, edge/edge, serial/HEXADECIMAL or
// node/NAME.
func Target(text string) (RevokeRequest, error) {
	kind, value, _ := strings.Cut(text, "/")
	switch {
	case value == "":
	case kind == kindService, text == "edge/"+model.EdgeName:
		return RevokeRequest{Kind: kindService, Value: text}, nil
	case kind == kindSerial, kind == kindNode:
		return RevokeRequest{Kind: kind, Value: value}, nil
	}
	return RevokeRequest{}, fmt.Errorf("%q is not service/NAME, edge/%s, serial/HEXADECIMAL or node/NAME", text, model.EdgeName)
}

// String is what people write for it; see Target.
func (q *RevokeRequest) String() string {
	if q.Kind == kindService {
		return q.Value
	}
	return q.Kind + "/" + q.Value
}

// Check holds that a model has the proxy that a request names. Serial numbers and nodes are not looked for: those that
// nobody has harm nobody.
func (q *RevokeRequest) Check(snap *model.Snapshot) error {
	if q.Kind != kindService {
		return nil
	}
	name := strings.TrimPrefix(q.Value, "spiffe://"+snap.TrustDomain+"/")
	service, ok := strings.CutPrefix(name, kindService+"/")
	switch {
	case name == "edge/"+model.EdgeName, ok && snap.ServiceByName(service) != nil:
		return nil
	case ok:
		return fmt.Errorf("the model in force has no service %q; what is no longer in it is refused by serial/ or node/", service)
	}
	return fmt.Errorf("%q is no proxy of the fleet; expected service/NAME or edge/%s", q.Value, model.EdgeName)
}
