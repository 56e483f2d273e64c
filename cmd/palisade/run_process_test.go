package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
)

// behind is the command line that runs a command behind the sidecar of web. Where control is says the environment.
func (d *daemon) behind(flags []string, command ...string) (env, args []string) {
	env = []string{
		"PALISADE_CONTROL=" + d.at, "PALISADE_TRUST_DOMAIN=shop.example", "PALISADE_JOIN_TOKEN_FILE=" + d.Path("web.token"),
		"PALISADE_ADMIN_TOKEN=of-an-administrator", "PID_FILE=" + d.Path("pid"), "BEHAVIOUR=job",
	}
	args = append([]string{"run", "--service=web", "--state=" + d.Path("web"), "--listen=127.0.0.1:0"}, flags...)
	return env, append(append(args, "--"), command...)
}

// newWeb is a control with which web may join.
func newWeb(t *testing.T) *daemon {
	t.Helper()
	d := newControl(t, "")
	d.startControl()
	d.Write("web.token", d.must("join", "service/web"))
	return d
}

// TestRunApart holds what a command that run starts has for itself: its standard output, and an environment without what is ours.
func TestRunApart(t *testing.T) {
	t.Parallel()
	d := newWeb(t)
	for format, line := range map[string]string{"text": " /job  web → orders", "json": `"class_uid":`} {
		env, args := d.behind([]string{"--format=" + format}, "sh", "-c", "test-service > "+d.Path("answer")+"; echo done")
		r := verb(t, env, args...)
		if r.code != exitOK || r.out != "done\n" || !strings.Contains(r.err, line) {
			t.Errorf("%s: %d\nout: %s\nerr: %s", format, r.code, r.out, r.err)
		}
	}
	env, args := d.behind(nil, "env")
	if r := verb(t, env, args...); r.code != exitOK || strings.Contains(r.out, "PALISADE_") || !strings.Contains(r.out, "ORDERS_ADDRESS=") || !strings.Contains(r.out, "BEHAVIOUR=job") {
		t.Errorf("%+v", r)
	}
}

// TestUpApart holds the same of services that up starts; what the model declares they get.
func TestUpApart(t *testing.T) {
	t.Setenv("PALISADE_ADMIN_TOKEN", "of-an-administrator")
	t.Setenv("PALISADE_JOIN_TOKEN_FILE", "/nowhere")
	u := newUp(t, "", "")
	service, err := exec.LookPath("test-service")
	must(t, err)
	u.Edit("palisade.yaml",
		fmt.Sprintf("command: [%q], env: {PID_FILE: {value: %q}", service, u.Path("back")),
		fmt.Sprintf("command: [sh, -c, \"env > environment; exec test-service\"], env: {PALISADE_OWN: {value: declared}, PID_FILE: {value: %q}", u.Path("back")))
	u.startReady()
	got := u.Read("environment")
	if rest := strings.Replace(got, "PALISADE_OWN=declared", "", 1); rest == got || strings.Contains(rest, "PALISADE_") {
		t.Errorf("the service finds\n%s", got)
	}
}

// TestRunDeaf holds that a command that ignores every wish to end is asked twice and killed by the third.
func TestRunDeaf(t *testing.T) {
	t.Parallel()
	d := newWeb(t)
	env, args := d.behind(nil, "sh", "-c", "trap 'echo asked' TERM INT; echo begins; while :; do sleep 0.05; done")
	d = &daemon{Fleet: fleettest.New(t)}
	d.startWith(env, args...)
	d.Says("begins")
	const told = "a third one kills it"
	for i, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		must(t, d.cmd.Process.Signal(s))
		d.Eventually("it is asked", func() bool { return strings.Count(d.Messages.String(), "asked\n") == i+1 })
		if said := strings.Count(d.Messages.String(), told); said != i {
			t.Errorf("after %s %q is said %d times, want %d", s, told, said, i)
		}
	}
	if code := d.end(); code != 128+9 {
		t.Errorf("it ended with %d\n%s", code, &d.Messages)
	}
	if said := d.Messages.String(); strings.Count(said, told) != 1 {
		t.Errorf("%q is said more than once:\n%s", told, said)
	}
}
