package capture

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/hosttest"
)

// BenchmarkRedirect measures what a connection costs that is redirected, beside one that is not, each with a line there and
// back: in a network namespace of its own, to a listener that answers at once.
func BenchmarkRedirect(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("NOT MEASURED: only root makes network namespaces")
	}
	hosttest.Need(b, "nft", "ip")
	name := fmt.Sprintf("palisade-%d-b", os.Getpid())
	for _, line := range [][]string{{"netns", "add", name}, {"-n", name, "link", "set", "lo", "up"}} {
		if out, err := exec.CommandContext(b.Context(), "ip", line...).CombinedOutput(); err != nil {
			b.Skipf("NOT MEASURED: no network namespaces here: %v %s", err, out)
		}
	}
	b.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	var direct, captures net.Listener
	err := within(name, func() (err error) {
		if err = Surround(); err != nil {
			return err
		}
		if direct, err = listenTCP("127.0.0.1:15002"); err == nil {
			captures, err = listenTCP("127.0.0.1:15001")
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer direct.Close()
	defer captures.Close()
	go answer(direct, false)
	go answer(captures, true)
	run := func(b *testing.B, at string) {
		b.Helper()
		before := processorTime(b)
		err := within(name, func() error {
			for b.Loop() {
				c, err := net.Dial("tcp", at)
				if err != nil {
					return err
				}
				if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
					return err
				}
				_ = c.(*net.TCPConn).SetLinger(0) // ports are not to run out
				_ = c.Close()
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	}
	b.Run("no rules", func(b *testing.B) { run(b, "127.0.0.1:15002") })
	if err := On(b.Context(), name, &Rules{Service: "orders", Port: 15001}); err != nil {
		b.Fatal(err)
	}
	b.Run("direct", func(b *testing.B) { run(b, "127.0.0.1:15002") })
	b.Run("redirected", func(b *testing.B) { run(b, "203.0.113.7:80") })
}

// processorTime is that of both sides, in the program and in the kernel. Others on the machine change it little.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
