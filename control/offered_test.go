package control_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/table"
)

// TestOffered holds that control plans and applies no model that does not say what its version says, nor one for development.
func TestOffered(t *testing.T) {
	first := compile(t, shop)
	s := newSite(t, first, nil)
	c := s.start()
	second := encode(t, compile(t, edited("callers: [web]", "callers: [web, payments]")))

	file := filepath.Join(t.TempDir(), "palisade.yaml")
	must(t, os.WriteFile(file, []byte(edited("callers: [web]", "callers: [payments]")), 0o600))
	d, _, err := model.Load(file)
	must(t, err)
	development, findings := d.Compile(model.Options{Development: true})
	if development == nil {
		t.Fatal(findings)
	}
	var bare model.Snapshot
	must(t, json.Unmarshal(second, &bare))
	bare.Origin = nil
	replaced := func(old, is string) json.RawMessage {
		if !bytes.Contains(second, []byte(old)) {
			t.Fatalf("there is no %s in\n%s", old, second)
		}
		return bytes.ReplaceAll(second, []byte(old), []byte(is))
	}
	for _, c := range []struct {
		what  string
		model json.RawMessage
		says  string
	}{
		{"another path", replaced(`"path":"/"`, `"path":"/hidden"`), "it was changed after palisade snapshot wrote it"},
		{"another caller", replaced(`"callers":["payments","web"]`, `"callers":["web"]`), "it was changed after palisade snapshot wrote it"},
		{"the version of another", replaced(compileVersion(t, second), first.Version), "it was changed after palisade snapshot wrote it"},
		{"more than is known", replaced(`"fleet":`, `"later":1,"fleet":`), `unknown field "later"`},
		{"no origin", encode(t, bare), "does not say where it was compiled"},
		{"development", encode(t, development), "palisade snapshot --production"},
	} {
		_, planned := s.admin().Plan(soon(t), c.model)
		_, applied := s.admin().Apply(soon(t), admin.ApplyRequest{Model: c.model, Before: first.Version})
		for verb, err := range map[string]error{"plan": planned, "apply": applied} {
			if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != 400 || !strings.Contains(p.Error(), c.says) {
				t.Errorf("%s, %s: %v", c.what, verb, err)
			}
		}
	}
	if st := c.Status(); st.InForce.Version != first.Version || st.InForce.Number != 1 {
		t.Errorf("in force %+v", st.InForce)
	}

	if _, err := s.admin().Plan(soon(t), second); err != nil {
		t.Errorf("as it was written: %v", err)
	}
	// Of the history too: what somebody changed in the store does not come back, what an earlier build wrote there does.
	for version, document := range map[string]json.RawMessage{"changed": replaced(`"path":"/"`, `"path":"/hidden"`), bare.Version: encode(t, bare)} {
		must(t, s.store.Write(t.Context(), func(tx *table.Tx) error {
			return tx.AddModel(t.Context(), table.Model{Version: version, Document: document, Author: "somebody"})
		}))
	}
	_, err = s.admin().Apply(soon(t), admin.ApplyRequest{Version: "changed", Before: first.Version})
	if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != 400 || !strings.Contains(p.Error(), "not what it was when it was written") {
		t.Errorf("changed in the store: %v", err)
	}
	out, err := s.admin().Apply(soon(t), admin.ApplyRequest{Version: bare.Version, Before: first.Version})
	if err != nil || out.Outcome != admin.Applied {
		t.Errorf("of an earlier build: %+v, %v", out, err)
	}
}

func compileVersion(t *testing.T, document []byte) string {
	t.Helper()
	var s model.Snapshot
	must(t, json.Unmarshal(document, &s))
	return s.Version
}
