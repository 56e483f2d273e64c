package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/app/capture"
)

const (
	lineFD      = 3 // the file that Command hands over
	dialTimeout = 10 * time.Second
	exitBroken  = 125 // the namespace failed, not the service

	signalTime = 200 * time.Millisecond // in which a signal that ended the service has come to us too
)

// inside is the process that holds a namespace open and is the parent of its service.
type inside struct {
	conn    *net.UnixConn
	command []string

	write   sync.Mutex
	work    sync.WaitGroup
	service *exec.Cmd
	ended   chan int // the service's exit code
	told    chan struct{}
	tell    func() // closes told: the outside knows that the service has begun
}

// Inside is the program's main function within a namespace: it serves the outside until that is gone or the service has
// ended, and returns the service's exit code.
func Inside(ctx context.Context, command []string, stderr io.Writer) int {
	f := os.NewFile(lineFD, "isolate")
	conn, err := net.FileConn(f)
	_ = f.Close() // FileConn has its own copy, and the service must not get ours
	uc, ok := conn.(*net.UnixConn)
	if err != nil || !ok || len(command) == 0 {
		fmt.Fprintln(stderr, "palisade: this verb is for palisade itself")
		return exitBroken
	}
	in := &inside{conn: uc, command: command, ended: make(chan int, 1), told: make(chan struct{})}
	in.tell = sync.OnceFunc(func() { close(in.told) })
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, Handed()...)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		in.serve(ctx)
	}()
	var children chan os.Signal
	if isInit() {
		children = make(chan os.Signal, 1)
		signal.Notify(children, syscall.SIGCHLD)
	}
	var asked bool // to end
	var code int
	var drained chan struct{}
	var enough <-chan time.Time
	for {
		select {
		case s := <-signals: // for the whole group, so that the service has it too
			if !in.running() {
				return exitBroken
			}
			asked = asked || ends(s)
		case <-children:
			in.reap()
		case code = <-in.ended:
			if !isInit() {
				return code
			}
			drained = make(chan struct{})
			go func() { drain(); close(drained) }() // it ends with us at the latest
			enough = time.After(signalTime)
		case <-drained:
			return code
		case <-enough:
			if !asked { // what it has left behind was not told to end, and does not by itself
				return code
			}
		case <-gone:
			in.kill()
			return exitBroken
		}
	}
}

// Handed are the signals that a service may be sent: those with a meaning for programs.
func Handed() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}
}

// ends reports whether a signal asks a program to end, and is followed by a SIGKILL if it does not.
func ends(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// running reports whether the service has begun.
func (in *inside) running() bool {
	in.write.Lock()
	defer in.write.Unlock()
	return in.service != nil
}

// kill ends a service whose way out is gone.
func (in *inside) kill() {
	in.write.Lock()
	defer in.write.Unlock()
	if in.service != nil {
		_ = in.service.Process.Kill() // fails only when it has ended
	}
}

// serve answers requests until the outside is gone.
func (in *inside) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer in.work.Wait()
	defer cancel()
	b := make([]byte, packet)
	for {
		n, err := in.conn.Read(b)
		if err != nil || n == 0 {
			return
		}
		var r request
		if err := json.Unmarshal(b[:n], &r); err != nil {
			return
		}
		in.work.Go(func() { in.answer(ctx, &r) })
	}
}

func (in *inside) answer(ctx context.Context, r *request) {
	f, err := in.do(ctx, r)
	out := reply{ID: r.ID}
	if err != nil {
		out.Error = err.Error()
	}
	in.write.Lock()
	defer in.write.Unlock()
	_ = writeReply(in.conn, out, f) // the outside that is gone ends serve
	if r.Op == opStart {
		in.tell()
	}
	if f != nil {
		_ = f.Close()
	}
}

func (in *inside) do(ctx context.Context, r *request) (*os.File, error) {
	switch r.Op {
	case opSetup:
		return nil, setUp(ctx, r)
	case opListen:
		return listen(ctx, r.Address)
	case opDial:
		return dial(ctx, r.Address)
	case opLog:
		return capture.OpenGroup("", capture.DefaultPort)
	case opStart:
		return nil, in.start()
	}
	return nil, fmt.Errorf("unknown request %q", r.Op)
}

type filer interface{ File() (*os.File, error) }

func fileOf(c io.Closer) (*os.File, error) {
	defer func() { _ = c.Close() }() // the file is a copy
	f, ok := c.(filer)
	if !ok {
		return nil, errors.New("not a socket")
	}
	return f.File()
}

func listen(ctx context.Context, address string) (*os.File, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return fileOf(ln)
}

func dial(ctx context.Context, address string) (*os.File, error) {
	d := net.Dialer{Timeout: dialTimeout}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return fileOf(c)
}

// start runs the service without any right over its namespace.
func (in *inside) start() error {
	cmd := exec.Command(in.command[0], in.command[1:]...) //nolint:gosec,noctx // the declared command; it ends with us
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in.write.Lock()
	defer in.write.Unlock()
	if in.service != nil {
		return errors.New("the service runs already")
	}
	started := make(chan error)
	go func() { // on one thread to the end: the service is to die with its parent, which to Linux is a thread
		err := powerless(cmd.Start)
		started <- err
		if err == nil {
			code := ExitCode(cmd.Wait())
			<-in.told // a service may end before we could say that it has begun
			in.ended <- code
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	in.service = cmd
	return nil
}

// ExitCode is that of a shell: the service's own, or 128 and the signal that ended it.
func ExitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return exitBroken
		}
		return 0
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}
