package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlanAsksTheGateway compares with what is served, not with what lies in the gateway's files.
func TestPlanAsksTheGateway(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	if out, code := u.palisade("plan"); code != exitOK || !strings.Contains(out, "nothing changes") {
		t.Errorf("exit code %d: %s", code, out)
	}
	text, err := os.ReadFile(u.Path("palisade.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	wider := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(wider, []byte(strings.ReplaceAll(string(text), "methods: [GET]", "methods: [GET, PUT]")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "palisade", "plan", "--state", u.Path(".palisade"), wider)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != exitFindings || !strings.Contains(string(out), "widens    services.front.expose") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
