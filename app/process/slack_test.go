package process

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestSlack: a service has the usual slack, whatever that of the proxy which starts it.
func TestSlack(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if slack() == 0 {
		t.Skip("this kernel does not tell the slack of timers")
	}
	if err := setSlack(proxySlack); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), "cat", "/proc/self/timerslack_ns")
	cmd.Stdout = &out
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out.String()); got != "50000" {
		t.Errorf("the service has a slack of %s ns", got)
	}
	if slack() != proxySlack {
		t.Errorf("the proxy is left with %s", slack())
	}
}
