package main

import (
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/token"
)

// TestControlWrong holds that wrong words get a clear answer and the right exit code.
func TestControlWrong(t *testing.T) {
	t.Parallel()
	d := newControl(t, "")
	d.startControl()
	bundle := d.must("bundle")
	d.Write("bundle.json", bundle)
	d.Write("foreign.json", strings.Replace(bundle, `"x5c":["MII`, `"x5c":["MIA`, 1))
	d.Write("empty", "\n")
	nobody := porttest.Free(t, 1)[0]
	away := []string{"--control=" + nobody, "--bundle=" + d.Path("bundle.json")}
	for _, c := range []struct {
		args []string
		code int
		want string // in the error
	}{
		{[]string{"join", "service/nobody", d.state()}, 2, `has no "service/nobody"`},
		{[]string{"join", "orders", d.state()}, 2, `has no "orders"`},
		{[]string{"join", "../x", d.state()}, 2, "names no identity"},
		{[]string{"join", "service/orders", "--ttl=25h", d.state()}, 2, "at most 24h"},
		{[]string{"join", d.state()}, 2, "see palisade join --help"},
		{[]string{"revoke", "service/nobody", d.state()}, 2, `has no service "nobody"`},
		{[]string{"revoke", "edge/other", d.state()}, 2, "is not service/NAME"},
		{[]string{"revoke", "control", d.state()}, 2, "is not service/NAME"},
		{[]string{"revoke", "serial/xyz", d.state()}, 2, "no serial number"},
		{[]string{"revoke", "service/", d.state()}, 2, "is not service/NAME"},
		{[]string{"restore", "service/orders", d.state()}, 2, "not revoked"},
		{[]string{"restore", "serial/xyz", d.state()}, 2, "no serial number"},
		{[]string{"apply", d.Path("nowhere"), d.state()}, 2, "nothing is applied"},
		{[]string{"apply", "--version=ffff", d.state()}, 2, "0 models of the history"},
		{[]string{"apply", "--version=ffff", d.Dir, d.state()}, 2, "found both"},
		{[]string{"reload", d.state()}, 2, "palisade apply gives it another model"},
		{[]string{"status", "--state=" + d.Path("elsewhere")}, 2, "start palisade control or palisade up there"},
		{[]string{"status", "--control=" + d.at}, 2, "needs --bundle"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("none")}, 2, "no such file"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("staff.json")}, 2, "--trust-domain"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("palisade.yaml")}, 2, "no trust bundle"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("foreign.json")}, 2, "cannot be read"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("bundle.json")}, 2, "PALISADE_ADMIN_TOKEN"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("bundle.json"), "--token-file=" + d.Path("empty")}, 2, "wants an access token"},
		{[]string{"status", "--control=" + d.at, "--bundle=" + d.Path("bundle.json"), "--token-file=" + d.Path("palisade.yaml")}, 2, "holds what no token does"},
		{append([]string{"status", "--token-file=" + d.Path("bundle.json")}, away...), 2, "does not answer: dial tcp"},
		{[]string{"control", d.Dir}, 2, "does one run on"},
		{[]string{"control", d.Dir, "--state=" + d.Path("other")}, 2, "address already in use"},
		{[]string{"bus-server", "nats-1", "--out=" + d.Path("nats"), d.Dir}, 2, "names no servers"},
	} {
		r := verb(t, nil, c.args...)
		if r.code != c.code || !strings.Contains(r.err, c.want) || r.out != "" {
			t.Errorf("%q: %d, want %d with %q\n%s%s", c.args, r.code, c.code, c.want, r.out, r.err)
		}
	}
	elsewhere := []string{"PALISADE_CONTROL=" + nobody}
	if r := verb(t, elsewhere, "status", d.state()); r.code != exitOK || !strings.Contains(r.out, "fleet shop") {
		t.Errorf("the environment wins over --state: %+v", r)
	}
	for _, args := range [][]string{{"status"}, {"status", d.state(), "--control=" + nobody}} {
		if r := verb(t, append(elsewhere, "PALISADE_STATE="+d.Path(".palisade")), args...); r.code != exitError || !strings.Contains(r.err, "needs --bundle") {
			t.Errorf("%q does not ask control elsewhere: %+v", args, r)
		}
	}
	d.Write("wrong/palisade.yaml", "version: 1\nfleet: Shop\n")
	if r := d.verb("apply", d.Path("wrong"), "--yes"); r.code != exitError || !strings.Contains(r.err, "not a name") {
		t.Errorf("a wrong model: %+v", r)
	}
	stale(t, d)
}

// stale holds that a plan counts against what it was made against alone.
func stale(t *testing.T, d *daemon) {
	t.Helper()
	c := admin.Local(d.Path(".palisade/control.sock"))
	defer c.Close()
	document, err := c.Model(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apply(t.Context(), admin.ApplyRequest{Model: document, Before: "another", Watch: model.Duration(time.Second)})
	if err == nil || !strings.Contains(err.Error(), "the plan was made against") {
		t.Errorf("a stale plan: %v", err)
	}
}

// TestAdministrators holds that over HTTPS control knows its administrators by tokens for it alone, and that each verb
// needs its role.
func TestAdministrators(t *testing.T) {
	t.Parallel()
	d := newControl(t, "")
	d.startControl()
	d.Write("bundle.json", d.must("bundle"))
	issue := func(audience string, roles ...string) string {
		t.Helper()
		text, err := d.staff.Issue(token.Claims{Subject: "ann", Issuer: "https://staff.example", Audience: []string{audience}, Roles: roles})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const ours = "palisade-control"
	verbs := [][]string{{"status"}, {"plan", d.Dir}, {"revoke", "service/web"}, {"restore", "service/web"}, {"apply", d.Dir, "--yes"}, {"join", "service/orders"}}
	for name, c := range map[string]struct {
		token string
		codes []int
		why   string
	}{
		"viewer":   {issue(ours, "support"), []int{0, 0, 2, 2, 0, 2}, "needs another role"}, // what is in force already needs no apply
		"operator": {issue(ours, "oncall"), []int{0, 0, 0, 0, 0, 2}, "needs another role"},
		"admin":    {issue(ours, "support", "platform"), []int{0, 0, 0, 0, 0, 0}, ""},
		"nobody":   {issue(ours, "customer"), []int{2, 2, 2, 2, 2, 2}, "needs another role"},
		"of users": {issue("shop", "platform"), []int{2, 2, 2, 2, 2, 2}, "does not accept the access token"},
		"forged":   {issue(ours, "platform") + "A", []int{2, 2, 2, 2, 2, 2}, "does not accept the access token"},
	} {
		for i, args := range verbs {
			r := verb(t, []string{"PALISADE_ADMIN_TOKEN=" + c.token, "PALISADE_CONTROL=" + d.at, "PALISADE_BUNDLE=" + d.Path("bundle.json")}, args...)
			if r.code != c.codes[i] || r.code != 0 && !strings.Contains(r.err, c.why) || strings.Contains(r.out+r.err, c.token) {
				t.Errorf("%s: %q ends with %d, want %d\n%s%s", name, args, r.code, c.codes[i], r.out, r.err)
			}
		}
	}
	if out := d.must("events", "--kind=revoked", "-n", "0"); !strings.Contains(out, "staff:ann") {
		t.Errorf("the record does not tell who:\n%s", out)
	}
	if out := d.must("history", "--acts"); !strings.Contains(out, "denied") || !strings.Contains(out, "operator") {
		t.Errorf("acts:\n%s", out)
	}
	// The token that a file holds, behind an address where nobody is.
	d.Write("token", issue(ours, "support")+"\n")
	r := verb(t, nil, "status", "--control="+porttest.Free(t, 1)[0]+","+d.at, "--bundle="+d.Path("bundle.json"), "--token-file="+d.Path("token"))
	if r.code != exitOK || !strings.Contains(r.out, "fleet shop") {
		t.Errorf("by file: %+v", r)
	}
}

// TestUpAnswersAdministrators holds that a fleet under "palisade up" is administered with the same words.
func TestUpAnswersAdministrators(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.Edit("palisade.yaml", "fleet: processes", "fleet: processes\nmesh: {isolation: \"off\"}")
	u.startReady()
	ask := func(code int, want string, args ...string) {
		t.Helper()
		if out, got := u.palisade(args...); got != code || !strings.Contains(out, want) {
			t.Errorf("%q ends with %d and does not say %q:\n%s", args, got, want, out)
		}
	}
	ask(0, "edge/edge", "status")
	ask(0, "service/back", "status")
	if out, _ := u.palisade("status"); strings.Count(out, " in ") != 3 || strings.Contains(out, "not on the newest") {
		t.Errorf("status:\n%s", out)
	}
	ask(0, "service/back is revoked", "revoke", "service/back")
	u.Eventually("the revocation is found", func() bool {
		out, _ := u.palisade("events", "--kind=revoked")
		return strings.Contains(out, "service/back")
	})
	u.Eventually("back has no identity", func() bool {
		out, _ := u.palisade("status")
		return strings.Contains(out, "revoked")
	})
	ask(0, "service/back is restored; what it was issued before stays refused\n", "restore", "service/back") // it comes back by itself
	ask(2, "not revoked", "restore", "service/back")
	ask(0, "edge/edge is revoked", "revoke", "edge/edge")
	ask(0, "is restored", "restore", "edge/edge")
	ask(2, `has no service "none"`, "revoke", "service/none")
	ask(2, "no serial number", "revoke", "serial/xyz")
	ask(2, "where palisade control runs", "history")
	ask(2, "where palisade control runs", "join", "service/back")
	ask(0, "nothing changes", "plan")

	u.Edit("palisade.yaml", "trust_domain: ", "trust_domain: other.")
	ask(1, `"other.`, "reload")
	ask(1, "palisade.yaml:4:15: error: trust_domain: the model is of trust domain", "reload")
	ask(1, "cannot be applied: the model is of trust domain", "plan")
	ask(0, "edge/edge", "status")
	u.Eventually("the refusal is recorded on one line", func() bool {
		out, _ := u.palisade("events", "--kind=applied")
		return strings.Contains(out, "palisade.yaml:4:15: error: trust_domain") && !strings.Contains(out, "?") && !strings.Contains(out, " | ") && !strings.Contains(out, "hint")
	})
	u.Edit("palisade.yaml", "trust_domain: other.", "trust_domain: ")
	ask(0, "", "reload")
}
