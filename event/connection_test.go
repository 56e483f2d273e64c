package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

// connections are events of connections as they occur, by what happened.
func connections() map[string]*event.Event {
	base := func(change func(*event.Event)) *event.Event {
		e := &event.Event{
			Time: moment, ID: "01a204a7-2162-7c43-b77e-26d2b8aeda5c",
			Fleet: "shop", Snapshot: "s-42", Listener: "db", Host: "db:5432",
			Client: "10.0.0.7", ClientPort: 51234, Peer: "10.0.0.7:51234",
			TLSVersion: "1.3", TLSCipher: "TLS_AES_128_GCM_SHA256", TLSGroup: "X25519MLKEM768", TLSServer: "db.mesh.internal",
			Workload: "spiffe://shop.example/service/orders", Service: "db",
			Allowed: true,
			Trail: []event.Stage{
				{Name: event.StageAuthorise, Outcome: event.OutcomePass, Took: 900, Reasons: []event.Reason{
					{Code: "declared-caller", Text: "orders is among the callers", Position: "palisade.yaml:7:5"},
				}},
				{Name: event.StageForward, Outcome: event.OutcomePass, Took: 70 * time.Microsecond},
			},
			BytesIn: 5 << 20, BytesOut: 77, Took: time.Minute + 5,
			Upstream: "127.0.0.1:5432", UpstreamTook: 60 * time.Microsecond, Attempts: 1,
			Connection: &event.Connection{Side: event.SideInbound, Protocol: "tcp"},
		}
		change(e)
		return e
	}
	return map[string]*event.Event{
		"carried": base(func(*event.Event) {}),
		"open":    base(func(e *event.Event) { e.Open, e.BytesIn, e.BytesOut, e.Took = true, 0, 0, 0 }),
		"cut":     base(func(e *event.Event) { e.Aborted = "drain" }),
		"unreached": base(func(e *event.Event) {
			e.Problem, e.BytesIn, e.BytesOut, e.Upstream = "upstream-failed", 0, 0, ""
			e.Connection.Side = event.SideOutbound
			e.Trail[1].Outcome, e.Trail[1].Reasons = event.OutcomeError, []event.Reason{{Code: "unreachable"}}
		}),
		"undeclared": base(func(e *event.Event) {
			e.Allowed, e.Problem, e.Upstream = false, "forbidden", ""
			e.Trail = []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomeDeny, Reasons: []event.Reason{{Code: "call-not-declared"}}}}
		}),
		"undecided": base(func(e *event.Event) {
			e.Allowed, e.Problem = false, "cannot-decide"
			e.Trail = []event.Stage{{Name: event.StageAuthenticate, Outcome: event.OutcomeError}}
		}),
		"egress": base(func(e *event.Event) {
			e.Host, e.Service, e.Upstream, e.TLSVersion, e.TLSCipher, e.TLSGroup = "api.example.com:443", "", "[2001:db8::7]:443", "", "", ""
			e.Connection.Side, e.Connection.Protocol = event.SideEgress, "tls"
		}),
		"socket": base(func(e *event.Event) {
			e.Client, e.ClientPort, e.Peer, e.Upstream, e.Host = "unix socket", 0, "@", "/run/db.sock", "db"
		}),
		"bare": {Time: moment, Connection: &event.Connection{}},
	}
}

func TestConnectionVerdicts(t *testing.T) {
	for name, want := range map[string][5]any{ // activity, action, disposition, severity, status
		"carried":    {2.0, 1.0, 1.0, 1.0, 1.0},
		"open":       {1.0, 1.0, 1.0, 1.0, 0.0},
		"cut":        {3.0, 1.0, 1.0, 1.0, 2.0},
		"unreached":  {4.0, 1.0, 1.0, 2.0, 2.0},
		"undeclared": {5.0, 2.0, 26.0, 2.0, 2.0},
		"undecided":  {5.0, 2.0, 27.0, 2.0, 2.0},
		"egress":     {2.0, 1.0, 1.0, 1.0, 1.0},
	} {
		var v map[string]any
		if err := json.Unmarshal(event.AppendJSON(nil, connections()[name]), &v); err != nil {
			t.Fatal(err)
		}
		if got := [5]any{v["activity_id"], v["action_id"], v["disposition_id"], v["severity_id"], v["status_id"]}; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// TestRedactConnection plants a secret wherever the other side can put one.
func TestRedactConnection(t *testing.T) {
	const secret = "hunter2hunter2"
	e := connections()["egress"]
	e.TLSServer, e.Host = "password="+secret, "token="+secret+":443"
	e.Trail[0].Reasons[0] = event.Reason{Code: "c", Text: "Authorization: Bearer " + secret, Data: map[string]string{"password": secret}}
	e.Redact(event.NewRedactor(nil))
	if line := string(event.AppendJSON(nil, e)); strings.Contains(line, secret) {
		t.Errorf("the secret stands in %s", line)
	}
}

func BenchmarkAppendConnection(b *testing.B) {
	e := connections()["carried"]
	buf := make([]byte, 0, event.DefaultCapacity)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.AppendJSON(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}
