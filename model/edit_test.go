package model_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

const editable = `# Ümläute before, so that columns are no bytes.
version: 1
fleet: shop
trust_domain: shop.example
mesh: {}
edge: {listeners: {public: {address: "127.0.0.1:8443", tls: {local: true}}}}
roles: {customer: {}, clerk: {}, admin: {}}
services:
  web:
    address: http://127.0.0.1:1 # ü
    callers: [orders]
    egress:
    - host: a.example # indented like its key

    # the other one
    - {host: b.example, port: 80, protocol: http}
    expose:
      # the front page
      - {host: shop.example, path: /, allow: [{anyone: true, methods: [GET, HEAD]}]}
      - host: shop.example
        path: /u
        allow:
          # clerks write
          - {roles: [clerk, "admin", customer], methods: [PUT]} # often
          - roles:
              - customer
              - clerk
            methods: [GET]
          - {users: true, methods: [GET, PATCH, PUT]}

  orders: {address: "http://127.0.0.1:2", callers: [web], description: "ü, [it"}
  # the last one
  stock: {description: "ü]", address: "http://127.0.0.1:3", callers: [web, 'orders']}
`

func TestWithout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(path, []byte(editable), 0o600); err != nil {
		t.Fatal(err)
	}
	d, findings, err := model.Load(path)
	if err != nil || model.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	for _, c := range []struct {
		paths string
		pairs []string // old and new texts
	}{
		{"services.stock.callers[0]", []string{"[web, 'orders']", "['orders']"}},
		{"services.stock.callers[1]", []string{"[web, 'orders']", "[web]"}},
		{"services.stock.callers[0] services.stock.callers[1]", []string{", callers: [web, 'orders']", ""}},
		{"services.orders.callers[0]", []string{"callers: [web], ", ""}},
		{"services.web.callers[0]", []string{"    callers: [orders]\n", ""}},
		{"services.web.egress[0]", []string{"    - host: a.example # indented like its key\n", ""}},
		{"services.web.egress[1]", []string{"    - {host: b.example, port: 80, protocol: http}\n", ""}},
		{"services.web.egress[0] services.web.egress[1]", []string{"    egress:\n    - host: a.example # indented like its key\n\n    # the other one\n    - {host: b.example, port: 80, protocol: http}\n", ""}},
		{"services.web.expose[0]", []string{"      - {host: shop.example, path: /, allow: [{anyone: true, methods: [GET, HEAD]}]}\n", ""}},
		{"services.web.expose[0].allow[0].methods[0]", []string{"[GET, HEAD]", "[HEAD]"}},
		{"services.web.expose[1].allow[0].roles[1]", []string{`[clerk, "admin", customer]`, "[clerk, customer]"}},
		{"services.web.expose[1].allow[0].roles[0] services.web.expose[1].allow[0].roles[1]", []string{`[clerk, "admin", customer]`, "[customer]"}},
		{"services.web.expose[1].allow[0].roles[1] services.web.expose[1].allow[0].roles[2]", []string{`[clerk, "admin", customer]`, "[clerk]"}},
		{"services.web.expose[1].allow[0].roles[0] services.web.expose[1].allow[0].roles[2]", []string{`[clerk, "admin", customer]`, `["admin"]`}},
		{"services.web.expose[1].allow[0]", []string{"          - {roles: [clerk, \"admin\", customer], methods: [PUT]} # often\n", ""}},
		{"services.web.expose[1].allow[1]", []string{"          - roles:\n              - customer\n              - clerk\n            methods: [GET]\n", ""}},
		{"services.web.expose[1].allow[1].roles[0]", []string{"              - customer\n", ""}},
		{"services.web.expose[1].allow[2].methods[0] services.web.expose[1].allow[2].methods[2]", []string{"[GET, PATCH, PUT]", "[PATCH]"}},
		{
			"services.web.expose[1].allow[2] services.web.callers[0] services.stock.callers[0]",
			[]string{"          - {users: true, methods: [GET, PATCH, PUT]}\n", "", "    callers: [orders]\n", "", "[web, 'orders']", "['orders']"},
		},
	} {
		edited, err := d.Without(strings.Fields(c.paths))
		if err != nil {
			t.Errorf("%s: %v", c.paths, err)
			continue
		}
		want := editable
		for i := 0; i < len(c.pairs); i += 2 {
			if !strings.Contains(want, c.pairs[i]) {
				t.Fatalf("%s: no %q", c.paths, c.pairs[i])
			}
			want = strings.Replace(want, c.pairs[i], c.pairs[i+1], 1)
		}
		if len(edited) != 1 || edited[0].File != path || string(edited[0].Before) != editable || string(edited[0].After) != want {
			t.Errorf("%s: got\n%s", c.paths, edited[0].After)
		}
	}
	if _, err := d.Without([]string{"services.web.callers[7]"}); err == nil {
		t.Error("what is not there goes")
	}
	if key := model.Key("services", "a.b", "callers", 3); key != `services["a.b"].callers[3]` {
		t.Errorf("got %s", key)
	}
}

// TestWithoutFirstKey holds that what would need the file to be written anew is refused.
func TestWithoutFirstKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "palisade.yaml")
	text := strings.Replace(editable, "          - roles:\n              - customer\n              - clerk\n", "          - roles:\n              - customer\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, findings, err := model.Load(path)
	if err != nil || model.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	if _, err := d.Without([]string{"services.web.expose[1].allow[1].roles[0]"}); !errors.Is(err, model.ErrUneditable) {
		t.Errorf("got %v", err)
	}
}
