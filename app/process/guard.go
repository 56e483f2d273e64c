package process

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guardScript reads the groups that run, one per line, and ends them once nobody can write to it any more.
const guardScript = `groups=
while read -r g; do
	[ "$g" = done ] && exit 0
	groups="$groups -$g"
done
[ -n "$groups" ] || exit 0
kill -s TERM -- $groups 2>/dev/null
sleep 5
kill -s KILL -- $groups 2>/dev/null`

// guard is a shell that outlives us if we are killed. A signal on the death of a parent reaches the direct
// child only, and what a wrapper such as "go run" has started would go on and keep its port.
type guard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// startGuard returns nil where there is no shell: direct children end with us without it.
func startGuard() *guard {
	shell, err := exec.LookPath("sh")
	if err != nil {
		return nil
	}
	cmd := exec.Command(shell, "-c", guardScript) //nolint:gosec,noctx // a constant script, ended by release
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return nil
	}
	return &guard{cmd: cmd, in: in}
}

// watch makes a process group end with us.
func (g *guard) watch(pgid int) {
	if g != nil {
		_, _ = fmt.Fprintln(g.in, pgid) // a guard that is gone guards nothing; there is no other remedy
	}
}

// release ends the guard without harm to anyone.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = fmt.Fprintln(g.in, "done")
	_ = g.in.Close()
	_ = g.cmd.Wait() // it ends by itself
}
