package isolate

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// isInit reports whether we are the init of a PID namespace: whose parent has ended becomes our child, and when we end the
// kernel kills all that is left.
func isInit() bool { return os.Getpid() == 1 }

// reap takes the exit codes of children that are not the service, which nobody else waits for. It knows them by /proc, which shows
// the processes of the namespace alone: to wait for any child would take the service's code too.
func (in *inside) reap() {
	in.write.Lock()
	defer in.write.Unlock()
	if in.service == nil {
		return
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return // they are reaped at the end
	}
	for _, entry := range all {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != 1 && pid != in.service.Process.Pid {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // it is no child of ours, or lives
		}
	}
}

// drain returns when no process is left: those that the service has started were told to end, too, and may have work to
// finish. The service itself has ended.
func drain() {
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
