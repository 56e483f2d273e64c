package app

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/learn"
	"github.com/palisade-security/palisade/model"
)

// TestLearn makes a patch of what the shop's users did not use, applies it with patch, and holds that what is left is a model that
// lets pass what was seen and nothing more.
func TestLearn(t *testing.T) {
	dir, before := shopWith(t, orderGrant, orderGrant)
	records := used(t)
	t.Chdir(dir)
	var out bytes.Buffer
	o := &Options{Out: &out, Err: t.Output()}
	if err := Learn(t.Context(), o, &LearnQuery{From: records}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"# learn shop  60 decisions of ", "# proposed to go:\n#   caller   web calls catalog  (not seen since ", "exposure clients ask web shop.localhost/live  (not seen since ",
		"method   orders shop.localhost/orders: GET for customer", "caller   orders calls payments",
		"exposure clients ask orders shop.localhost/orders/events", "shop.localhost/orders/{id} would take its requests: decide by hand",
		"--- a/palisade.yaml\n+++ b/palisade.yaml\n@@ ",
		"\n-          - {roles: [clerk], methods: [PUT]}\n", "\n+        allow: [{roles: [customer], methods: [POST]}]\n", "\n-    callers: [web, orders]\n",
		"\n-      - {host: shop.localhost, path: /live, upgrade: [websocket], allow: [{anyone: true, methods: [GET]}]}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	c := exec.CommandContext(t.Context(), "patch", "-p1", "--fuzz=0")
	c.Stdin = strings.NewReader(text)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, said, text)
	}
	yaml, err := os.ReadFile(filepath.Join(dir, "palisade.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, stays := range []string{"# A small fleet: web,", "# tokens of \"palisade token\"", "path: /orders/events", "{anyone: true, methods: [GET]}"} {
		if !strings.Contains(string(yaml), stays) {
			t.Errorf("%q is gone", stays)
		}
	}
	_, after, findings, err := o.forOthers().load(true)
	if err != nil {
		t.Fatal(err, findings)
	}
	if len(after.Routes) >= len(before.Routes) {
		t.Errorf("%d routes of %d", len(after.Routes), len(before.Routes))
	}
	r, err := o.replay(t.Context(), after, o.record(records), Span{}, 0)
	if err != nil || r.Denied != 0 || r.Allowed != 0 {
		t.Errorf("%+v, %v", r, err)
	}

	// What is least stays as it is.
	out.Reset()
	o.JSON = true
	if err := Learn(t.Context(), o, &LearnQuery{From: records}); err != nil {
		t.Fatal(err)
	}
	var again learned
	if err := json.Unmarshal(out.Bytes(), &again); err != nil || again.Patch != "" || len(again.Keys()) != 0 || len(again.Unseen) == 0 {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestLearnIsNotSure holds that nothing is proposed from an hour of records, and nothing learned from none.
func TestLearnIsNotSure(t *testing.T) {
	dir, _ := shopWith(t, orderGrant, orderGrant)
	records := used(t)
	var out bytes.Buffer
	o := &Options{Paths: []string{dir}, Out: &out, Err: t.Output()}
	if err := Learn(t.Context(), o, &LearnQuery{From: records, Sure: 0.5}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "proposed to go") || strings.Contains(text, "@@") || !strings.Contains(text, "% sure): not sure enough  ") {
		t.Errorf("got\n%s", text)
	}
	err := Learn(t.Context(), o, &LearnQuery{From: records, Since: benchRecord(0).Time.AddDate(1, 0, 0)})
	if err == nil || !strings.Contains(err.Error(), "nothing is learned: no request or connection") {
		t.Errorf("got %v", err)
	}
}

// TestLearnChecksItself holds that a patch that would deny what was seen is not shown.
func TestLearnChecksItself(t *testing.T) {
	dir, snap := shopWith(t, orderGrant, orderGrant)
	d, _, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Paths: []string{dir}, Out: t.Output(), Err: t.Output()}
	for key, want := range map[string]string{
		model.Key("services", "orders", "expose", 0, "allow", 0, "methods", 1): "it would deny 10 of what was seen",
		model.Key("services", "orders", "callers", 0):                          "is declared",
	} {
		p := &learn.Proposal{Unseen: []learn.Unseen{{Key: key, Proposed: true}}}
		if _, err := o.proposed(t.Context(), d, snap, p, o.record(used(t))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
