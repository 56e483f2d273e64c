package reliability

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/netlab"
	"github.com/palisade-security/palisade/model"
)

// storm is what became of many workloads that wanted identities at once.
type storm struct {
	workloads int
	phases    []phase
}

type phase struct {
	name                 string
	took                 time.Duration // until all had an SVID that is new
	errors               int           // attempts that failed and were repeated
	control, swarm       time.Duration // CPU
	sent, lost           int           // requests to the fleet meanwhile
	acknowledged, events int           // records of these, and those that are gone
}

// memory is a keeper without a disk: thousands of workloads on one host would measure that.
type memory struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (m *memory) Save(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[name] = slices.Clone(data)
	return nil
}

func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.all[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

// workload is one of a swarm.
type workload struct {
	*client.Client
	old      *x509.Certificate // the SVID that no longer counts
	failures int               // in a row, when last looked at
}

// fresh tells whether it has a valid SVID that counts.
func (w *workload) fresh() bool {
	cert, err := w.Certificate()
	return err == nil && time.Now().Before(cert.Leaf.NotAfter) && cert.Leaf != w.old
}

// swarm is the process of all workloads: real clients of control, that obey and do nothing else. Each line of a file of
// tokens is one. SIGUSR1 makes all of them renew at once; SIGUSR2 says that the SVIDs they have no longer count. It prints how many
// have a fresh one.
func swarm(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	all, err := newSwarm(ctx, args[0], args[1])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var running sync.WaitGroup
	defer running.Wait()
	for _, w := range all {
		running.Go(func() { _ = w.Run(ctx) })
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	tick := time.NewTicker(max(100*time.Millisecond, time.Duration(len(all))*50*time.Microsecond)) // looking costs, too
	defer tick.Stop()
	turn, failed, why, last := 1, 0, "", ""
	for {
		select {
		case <-ctx.Done():
			return 0
		case s := <-signals:
			turn, failed = turn+1, 0
			for _, w := range all {
				if cert, err := w.Certificate(); err == nil {
					w.old = cert.Leaf
				}
			}
			if s == syscall.SIGUSR1 {
				for _, w := range all {
					w.Source().Renew()
				}
			}
			fmt.Printf("turn %d\n", turn)
		case <-tick.C:
		}
		fresh := 0
		for _, w := range all {
			if w.fresh() {
				fresh++
			}
			for _, held := range w.Source().Held() {
				if held.Failures > w.failures {
					failed, why = failed+held.Failures-w.failures, fmt.Sprint(held.Err)
				}
				w.failures = held.Failures
			}
		}
		if line := fmt.Sprintf("turn %d: %d of %d, %d failed %.300s", turn, fresh, len(all), failed, why); line != last {
			fmt.Println(line)
			last = line
		}
	}
}

func newSwarm(ctx context.Context, at, tokens string) ([]*workload, error) {
	f, err := os.Open(tokens)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []*workload
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, token, _ := strings.Cut(lines.Text(), " ")
		c, err := client.Open(ctx, client.Options{
			Domain: domain, Name: name, Node: "swarm", JoinToken: token, Control: []string{at}, Log: slog.New(slog.DiscardHandler),
			Keeper: &memory{all: map[string][]byte{}}, Every: time.Minute,
			Compile: func(context.Context, *model.Snapshot) (func(), error) { return func() {}, nil },
		})
		if err != nil {
			return nil, err
		}
		all = append(all, &workload{Client: c})
	}
	return all, nil
}

const kinds = 100 // services, of which each workload is an instance

// stormOf lets many workloads want identities at once: to join, to renew, and after all of them have expired. A fleet of the same
// control serves all the while.
func stormOf(t *testing.T, programs *fleettest.Programs) storm {
	t.Helper()
	s := storm{workloads: *many}
	openFiles(t, uint64(4**many+4096)) // each workload has two connections at a time
	f := newFleet(t, programs)
	c, n := f.control("control", filepath.Join(f.dir, "palisade.yaml")), f.host("swarm")
	life := time.Hour
	if *long {
		life = 15 * time.Minute // longer than joining takes, else those who came first have expired when the last one comes
	} else {
		c.kernel, n.kernel = new(netlab.Kernel), new(netlab.Kernel)
	}
	text := fmt.Sprintf(modelText, life, c.IP, "bus: {listen: \""+c.IP+":4222\"}")
	var services strings.Builder
	for i := range kinds {
		fmt.Fprintf(&services, "  s%d: {address: \"http://127.0.0.1:8000\", callers: [s%d]}\n", i, (i+1)%kinds)
	}
	f.write("palisade.yaml", strings.Replace(text, "mesh:\n", services.String()+"mesh:\n", 1))
	c.start()
	c.says(t, "this control leads")
	f.join()
	n.args = f.lab.Self("swarm", c.IP+":9950", f.write("tokens", s.tokens(t, f.admin(c))))
	n.start()
	s.wait(t, "all join at once", 1, f, n)
	_ = syscall.Kill(n.Pid(), syscall.SIGUSR1)
	s.wait(t, "all renew at once", 2, f, n)

	c.Kill()
	_ = syscall.Kill(n.Pid(), syscall.SIGUSR2)
	if *long {
		pause(t, life)
	} else {
		c.kernel.Jump(2 * time.Hour)
		n.kernel.Jump(2 * time.Hour)
	}
	eventually(t, "none counts", func() bool { return strings.Contains(n.String(), "turn 3: 0 of") })
	c.start()
	c.says(t, "this control leads")
	_ = syscall.Kill(n.Pid(), syscall.SIGUSR1) // left to themselves they look at the clock once a minute
	s.wait(t, "all have expired, and want another at once", 4, f, n)
	if err := n.Stop(); err != nil {
		t.Errorf("the swarm: %v", err)
	}
	return s
}

// openFiles raises the limit of open files for what is started from here on, if it may.
func openFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil {
		limit.Cur, limit.Max = max(limit.Cur, n), max(limit.Max, n)
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		t.Logf("the limit of open files stays: %v", err)
	}
}

// tokens makes one for each workload: a line with its name and the token.
func (s *storm) tokens(t *testing.T, a *admin.Client) string {
	t.Helper()
	lines := make([]string, s.workloads)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for i := range lines {
		g.Go(func() error {
			name := fmt.Sprint("service/s", i%kinds)
			got, err := a.Token(ctx, admin.TokenRequest{Name: name})
			if err == nil {
				lines[i] = name + " " + got.Token + "\n"
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "")
}

// wait waits until all workloads have fresh SVIDs in a turn and notes what that took, and what became of the fleet's requests.
func (s *storm) wait(t *testing.T, name string, turn int, f *fleet, n *node) {
	t.Helper()
	c := f.controls[0]
	l := startLoad(t, f.address(), "lab.localhost")
	begun, control, swarm := time.Now(), cpu(t, c.Pid()), cpu(t, n.Pid())
	done := fmt.Sprintf("turn %d: %d of %d, ", turn, s.workloads, s.workloads)
	tail := func() string {
		text := n.String()
		return text[max(0, len(text)-2000):]
	}
	patiently(t, name, 10*time.Minute+time.Duration(s.workloads)*100*time.Millisecond, func() bool { return strings.Contains(n.String(), done) }, tail)
	_, rest, _ := strings.Cut(n.String(), done)
	failed, _ := strconv.Atoi(strings.Fields(rest)[0])
	p := phase{name: name, took: time.Since(begun), errors: failed, control: cpu(t, c.Pid()) - control, swarm: cpu(t, n.Pid()) - swarm}
	l.smooth(name+": requests are answered", time.Now(), time.Second)
	all := l.finish()
	p.sent = len(all)
	p.lost, _ = lost(all)
	pause(t, 200*time.Millisecond) // what is offered to the journal is on disk 10 ms later
	p.acknowledged, p.events = f.missing(t, all)
	why := map[string]int{}
	for _, q := range all {
		if !q.ok {
			why[digits.ReplaceAllString(q.why, "*")]++
		}
	}
	for text, n := range why {
		t.Logf("%d lost: %.300s", n, text)
	}
	line, _, _ := strings.Cut(rest, "\n")
	t.Logf("%d workloads: %+v; %s", s.workloads, p, line)
	s.phases = append(s.phases, p)
}

// cpu is what a process has used (proc_pid_stat(5)); Linux counts it in hundredths of a second.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text := fleettest.Read(t, filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
