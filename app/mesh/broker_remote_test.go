package mesh

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// TestBrokerRemote: the same with sidecars that a control feeds, each with a state of its own.
func TestBrokerRemote(t *testing.T) {
	keys := t.TempDir()
	server := startBroker(t, keys)
	s := siteOf(t, strings.NewReplacer("BUS", server.address, "bus.keys", filepath.Join(keys, "bus.keys"), `mesh: {isolation: "off"}`, "mesh: {}").Replace(brokerModel))
	s.join("bus")
	orders, payments := s.join("orders"), s.join("payments")
	connect := func(r *remote) (c *program) {
		eventually(t, r.name+" connects", func() bool {
			at := r.At("bus")
			if at == nil {
				return false
			}
			var err error
			c, err = connectTo(t, at.String())
			return err == nil
		})
		return c
	}
	one, two := connect(orders), connect(payments)
	_, err := two.Subscribe("payments.charge", func(m *nats.Msg) { _ = m.Respond([]byte("charged")) })
	noError(t, err, two.Flush())
	if m, err := one.RequestWithContext(patience(t), "payments.charge", nil); err != nil || string(m.Data) != "charged" {
		t.Errorf("%v, %v", m, err)
	}
	noError(t, one.Publish("payments.done", nil))
	one.refused(t, "payments.done")
	a := admin.Local(s.socket())
	defer a.Close()
	before := s.control.Status().InForce.Version
	s.text = strings.Replace(s.text, "payments.charge, idle.x]", "payments.done, idle.x]", 1)
	document, err := json.Marshal(s.compile())
	noError(t, err)
	result, err := a.Apply(t.Context(), admin.ApplyRequest{Model: document, Before: before, Watch: model.Duration(time.Second)})
	if err != nil || result.Outcome != admin.Applied {
		t.Fatalf("%+v, %v", result, err)
	}
	select {
	case <-one.lost:
	case <-patience(t).Done():
		t.Fatal("it goes on with what it was permitted before")
	}
	eventually(t, "it is back", one.IsConnected)
	noError(t, one.Publish("payments.done", nil), one.Flush(), one.Publish("payments.charge", nil))
	one.refused(t, "payments.charge")
}
