// Package isolate runs a service in a network namespace of its own, in which nothing exists but loopback: nobody
// reaches the service, and the service reaches nobody, except through sockets that are handed over to us. In a PID namespace
// of its own it sees no processes but those that it has started. It needs no
// root: a user namespace gives the rights over the network namespace and over nothing else. It is for services
// that this program starts itself; hosts whose services have other parents use packet filters instead.
package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/palisade-security/palisade/app/capture"
)

// Verb is the hidden first argument that makes this program the inside of a namespace; see Inside.
const Verb = "__isolated"

// Spec is what a namespace begins with.
type Spec struct {
	Hosts  map[string]netip.Addr // names the service can resolve, beside localhost
	Listen []netip.AddrPort      // sockets to open inside, in this order
	Folder string                // where files for the inside are written; it must outlive the service
	Hide   string                // a folder the service must not see; empty: none
	Keep   []string              // folders within Hide that it sees nevertheless, as far as there are such
	Unseen []string              // folders that it must not see either, all of them

	// Processes gives the service a PID namespace too: it sees, and can signal, no process but its own.
	Processes bool

	// Capture is the name of a service whose connections beyond loopback are brought to the default capture port, for which
	// Listen has sockets, and whatever else it sends dropped; see Pod.Dropped. Empty: nothing but loopback exists.
	Capture string
}

// Pod is a service's namespace, seen from outside.
type Pod struct {
	Listeners []net.Listener // those of Spec.Listen, accepted from outside
	PID       int            // of the process that holds the namespace open, set by whoever started it

	conn  *net.UnixConn
	hosts string // path of its names

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
	err     error // why no answer will come any more
	done    chan struct{}
}

type answer struct {
	file *os.File
	err  error
}

// Command prepares to run a service isolated. Start the command, then call Open; the service itself starts with
// Pod.Release. The command's process stays the service's parent and ends with its exit code, as a shell would. Both are
// in one process group: who signals the service signals the group. With processes, which Spec.Processes must repeat, the
// command's process is the init of the service's, and whatever they started ends with it.
func Command(command []string, processes bool) (*exec.Cmd, *net.UnixConn, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("isolating a service: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("isolating a service: %w", err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "isolate"), os.NewFile(uintptr(pair[1]), "isolate")
	defer ours.Close() // FileConn has its own copy
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("isolating a service: %w", err)
	}
	cmd := exec.Command(self, append([]string{Verb}, command...)...) //nolint:gosec,noctx // running what the model declares is the purpose; its owner ends it
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = namespaces()
	if processes {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	}
	uc, _ := conn.(*net.UnixConn)
	return cmd, uc, nil
}

// namespaces asks for a network and a mount namespace, as root directly, as anyone else through a user namespace in
// which only the user itself exists.
func namespaces() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_NET_BIND_SERVICE}
	}
	return a
}

// Open sets the started namespace up: its names and its sockets. The service does not run yet.
func Open(ctx context.Context, conn *net.UnixConn, s *Spec) (*Pod, error) {
	p := &Pod{conn: conn, hosts: hostsIn(s.Folder), waiting: map[uint64]chan answer{}, done: make(chan struct{})}
	go p.receive()
	if err := p.SetHosts(s.Hosts); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	setup := request{Op: opSetup, Hosts: p.hosts, Hide: s.Hide, Keep: s.Keep, Unseen: s.Unseen, Capture: s.Capture, Processes: s.Processes}
	if _, err := p.ask(ctx, &setup); err != nil {
		return nil, errors.Join(fmt.Errorf("setting a namespace up: %w", err), p.Close())
	}
	for _, at := range s.Listen {
		ln, err := p.Listen(ctx, at)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.Listeners = append(p.Listeners, ln)
	}
	return p, nil
}

// SetHosts replaces the names that the service can resolve, beside localhost.
func (p *Pod) SetHosts(names map[string]netip.Addr) error { return WriteHosts(p.hosts, names) }

// Listen opens one more socket inside, accepted from outside. The caller closes it.
func (p *Pod) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	f, err := p.ask(ctx, &request{Op: opListen, Address: at.String()})
	if err != nil {
		return nil, fmt.Errorf("listening on %s inside a namespace: %w", at, err)
	}
	defer f.Close() // the listener has its own copy
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over %s: %w", at, err)
	}
	return ln, nil
}

// Release starts the service.
func (p *Pod) Release(ctx context.Context) error {
	if _, err := p.ask(ctx, &request{Op: opStart}); err != nil {
		return fmt.Errorf("starting within its own network: %w", err)
	}
	return nil
}

// Dial connects to an address inside.
func (p *Pod) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	f, err := p.ask(ctx, &request{Op: opDial, Address: address})
	if err != nil {
		return nil, fmt.Errorf("dialing %s inside a namespace: %w", address, err)
	}
	defer f.Close() // FileConn has its own copy
	return net.FileConn(f)
}

// Dropped opens the log of what the service sent past its sidecar, where that is captured.
func (p *Pod) Dropped(ctx context.Context, service string) (*capture.Log, error) {
	f, err := p.ask(ctx, &request{Op: opLog})
	if err != nil {
		return nil, fmt.Errorf("inside a namespace: %w", err)
	}
	return capture.NewLog(f, service), nil
}

// Close gives up the listeners and the line to the inside; the service ends with its process, which is its owner's.
func (p *Pod) Close() error {
	var errs []error
	for _, ln := range p.Listeners {
		errs = append(errs, ln.Close())
	}
	errs = append(errs, p.conn.Close())
	<-p.done
	return errors.Join(errs...)
}

// ask sends a request and waits for its answer.
func (p *Pod) ask(ctx context.Context, r *request) (*os.File, error) {
	got := make(chan answer, 1)
	p.mu.Lock()
	if p.err != nil {
		defer p.mu.Unlock()
		return nil, p.err
	}
	p.last++
	r.ID = p.last
	p.waiting[r.ID] = got
	p.mu.Unlock()
	b, err := json.Marshal(r)
	if err == nil {
		_, err = p.conn.Write(b)
	}
	if err != nil {
		p.forget(r.ID)
		return nil, err
	}
	select {
	case a := <-got:
		return a.file, a.err
	case <-ctx.Done():
		if !p.forget(r.ID) { // it is being answered
			if a := <-got; a.file != nil {
				_ = a.file.Close()
			}
		}
		return nil, context.Cause(ctx)
	}
}

// forget reports whether the answer to a request had not come yet.
func (p *Pod) forget(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, waits := p.waiting[id]
	delete(p.waiting, id)
	return waits
}

// receive hands answers to those who wait until the inside is gone.
func (p *Pod) receive() {
	defer close(p.done)
	for {
		r, f, err := readReply(p.conn)
		p.mu.Lock()
		if err != nil {
			p.err = fmt.Errorf("the namespace is gone: %w", err)
			for id, ch := range p.waiting {
				ch <- answer{err: p.err}
				delete(p.waiting, id)
			}
			p.mu.Unlock()
			return
		}
		ch := p.waiting[r.ID]
		delete(p.waiting, r.ID)
		p.mu.Unlock()
		switch {
		case ch == nil && f != nil:
			_ = f.Close() // nobody waits any more
		case ch == nil:
		case r.Error != "":
			ch <- answer{err: errors.New(r.Error)}
		default:
			ch <- answer{file: f}
		}
	}
}
