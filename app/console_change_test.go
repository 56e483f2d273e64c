package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/console"
	"github.com/palisade-security/palisade/model"
)

// TestWanted holds what somebody may give to the console: what "palisade snapshot" wrote, as it wrote it.
func TestWanted(t *testing.T) {
	var out bytes.Buffer
	o := &Options{Paths: []string{"../examples/shop"}, Out: &out, Err: io.Discard}
	if err := Snapshot(o, true); err != nil {
		t.Fatal(err)
	}
	written := out.String()
	var bare model.Snapshot
	if err := json.Unmarshal(out.Bytes(), &bare); err != nil {
		t.Fatal(err)
	}
	bare.Origin = nil
	old, err := json.Marshal(bare)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.ReplaceAll(written, `"customer"`, `"custmer"`)
	if edited == written {
		t.Fatal("nothing was edited")
	}
	for _, c := range []struct {
		what, document string
		development    bool
		says           string
	}{
		{"as it was written", written, false, ""},
		{"a role that is not declared", edited, false, "the content is not that of version \"" + bare.Version + "\": it was changed after palisade snapshot wrote it"},
		{"of an earlier build", string(old), false, "does not say where it was compiled"},
		{"YAML to control", "version: 1\nfleet: shop\n", false, `as JSON, as "palisade snapshot --production DIR" writes it; YAML is not taken`},
		{"YAML to up", "version: 1\nfleet: shop\n", true, `as JSON, as "palisade snapshot DIR" writes it; YAML is not taken`},
		{"half of it", written[:len(written)/2], false, "reading the snapshot in what was given: unexpected EOF"},
	} {
		snap, err := o.wanted(&console.Proposal{Document: []byte(c.document)}, c.development, nil)
		if c.says == "" {
			if err != nil || snap.Version != bare.Version {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if r, ok := errors.AsType[*console.Refusal](err); !ok || !strings.Contains(r.Text, c.says) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
