package app

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// TestExplainForward holds that a request that was let pass and got no answer says what mends that.
func TestExplainForward(t *testing.T) {
	snap := &model.Snapshot{Services: []model.ResolvedService{{Name: "catalog", Position: model.Position{File: "palisade.yaml", Line: 7, Column: 5}}}}
	for _, c := range []struct {
		what     string
		side     event.Side
		listener string
		codes    []string
		want     []string
	}{
		{"nobody listens", event.SideUnknown, "main", []string{"upstream-unreachable"}, []string{"start service/catalog, in a mesh its sidecar, or mend its address  palisade.yaml:7:5"}},
		{"nobody listens behind the sidecar", event.SideInbound, "catalog/inbound", []string{"upstream-unreachable"}, []string{"its sidecar finds nobody at 127.0.0.1:7002"}},
		{"the callee is revoked, and calls have failed before", event.SideOutbound, "orders/outbound", []string{"circuit-open", "peer-revoked"}, []string{"service/catalog is tried again by itself", "palisade restore service/catalog"}},
		{"the caller is revoked", event.SideOutbound, "orders/outbound", []string{"own-identity-revoked"}, []string{"if service/orders may call again"}},
		{"the edge has no identity", event.SideUnknown, "main", []string{"own-identity-missing"}, []string{"the SVID of the edge"}},
		{"another is there", event.SideOutbound, "orders/outbound", []string{"peer-identity"}, []string{"does not prove to be service/catalog"}},
		{"slow", event.SideUnknown, "main", []string{"upstream-timeout"}, []string{"give it longer"}},
	} {
		e := &event.Event{
			ID: "id-1", Side: c.side, Listener: c.listener, Method: "GET", Host: "catalog", Path: "/", Service: "catalog", Upstream: "127.0.0.1:7002", Allowed: true, Status: 502,
			Trail: []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomePass}, {Name: event.StageForward, Outcome: event.OutcomeError}},
		}
		for _, code := range c.codes {
			e.Trail[1].Reasons = append(e.Trail[1].Reasons, event.Reason{Code: code})
		}
		var b strings.Builder
		explain(e, snap).Print(&b, observe.Style{})
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", c.what, want, b.String())
			}
		}
	}
}
