package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// within calls f, which starts a process or opens a socket, in a network namespace: its path, or a name as "ip netns"
// gives it; empty: that of this process.
func within(netns string, f func() error) error {
	if netns == "" {
		return f()
	}
	if !strings.Contains(netns, "/") {
		netns = filepath.Join("/run/netns", netns)
	}
	ns, err := os.Open(netns)
	if err != nil {
		return fmt.Errorf("opening a network namespace: %w", err)
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine, and with it the stay
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering the network namespace %s: %w; it must be one, and it takes root", netns, err)
			return
		}
		done <- f()
	}()
	return <-done
}
