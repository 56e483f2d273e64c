package reliability

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/netlab"
)

var (
	update = flag.Bool("update", false, "write the figures into docs/reliability.md")
	long   = flag.Bool("long", false, "wait after each trouble until control is whole again, and for SVIDs that expire without a clock that is set")
	spell  = flag.Duration("spell", time.Second, "how long a trouble lasts that somebody ends")
	many   = flag.Int("workloads", 100, "how many take part in the storm")
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(netlab.Main(m, map[string]func([]string) int{"front": front, "back": back, "swarm": swarm}))
}

// row is one trouble.
type row struct {
	name string
	// do makes the trouble, and ends it. It returns when the trouble was over: for a process that was killed, the moment it
	// was; starting it again belongs to healing.
	do      func(f *fleet) time.Time
	control bool                   // the trouble is one of control too: wait until that is whole again also in the short form
	killed  func(f *fleet) []*node // proxies whose last records need not have an end
}

// result is a row of the table.
type result struct {
	name                 string
	lasted               time.Duration // the trouble
	sent, lost           int
	heal                 time.Duration // from the end of the trouble to that of the last request that was lost
	whole                time.Duration // from the end of the trouble until control has heard of all proxies
	acts                 int           // of administrators, acknowledged meanwhile
	acknowledged, events int           // records and acts, and those of them that are gone
}

// digits differ from one refusal of a kind to the next.
var digits = regexp.MustCompile(`[0-9a-f-]{8,}`)

// TestReliability writes the table of docs/reliability.md with -update.
func TestReliability(t *testing.T) {
	if testing.Short() {
		t.Skip("builds, starts and kills a fleet on several hosts")
	}
	t.Setenv("CGO_ENABLED", "0")
	programs, err := fleettest.NewPrograms("../..", "./cmd/palisade", "github.com/nats-io/nats-server/v2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = programs.Remove() })
	var results []result
	t.Run("one control", func(t *testing.T) {
		f := newSmall(t, programs)
		for _, r := range small() {
			t.Run(r.name, func(t *testing.T) { results = append(results, f.suffer(t, r)) })
		}
	})
	t.Run("cluster", func(t *testing.T) {
		f := newCluster(t, programs)
		for _, r := range cluster() {
			t.Run(r.name, func(t *testing.T) { results = append(results, f.suffer(t, r)) })
		}
		t.Run("kills", f.killed)
	})
	var storms []storm
	t.Run("storm", func(t *testing.T) { storms = append(storms, stormOf(t, programs)) })
	if *update && !t.Failed() {
		writeTable(t, results, storms)
	}
}

// pause waits.
func pause(t *testing.T, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// suffer runs one row under load.
func (f *fleet) suffer(t *testing.T, r row) result {
	outer := f.t
	f.t = t
	defer func() { f.t = outer }()
	l := startLoad(t, f.address(), "lab.localhost")
	l.smooth("the load runs", time.Now(), 500*time.Millisecond)
	tokens, a := 0, (*acts)(nil)
	if f.postgres != nil {
		tokens, a = f.tokens(), f.act()
	}
	begun := time.Now()
	over := r.do(f)
	l.smooth(r.name+": requests are answered again", over, time.Second)
	out := result{name: r.name, lasted: over.Sub(begun)}
	if r.control || *long || f.postgres != nil {
		f.whole(over)
		out.whole = time.Since(over)
	}
	all := l.finish()
	var last time.Time
	out.sent = len(all)
	out.lost, last = lost(all)
	if last.After(over) {
		out.heal = last.Sub(over)
	}
	var killed []*node
	if r.killed != nil {
		killed = r.killed(f)
	}
	pause(t, 200*time.Millisecond) // what is offered to the journal is on disk 10 ms later
	out.acknowledged, out.events = f.missing(t, all, killed...)
	if a != nil {
		n, gone := a.finish(tokens)
		out.acts, out.acknowledged, out.events = n, out.acknowledged+n, out.events+gone
		if gone > 0 || n == 0 {
			t.Errorf("%d acts of administrators were acknowledged, and %d of them are gone", n, gone)
		}
	}
	t.Logf("%+v", out)
	seen := map[string]int{}
	for _, q := range all {
		if !q.ok {
			seen[digits.ReplaceAllString(q.why, "*")]++
		}
	}
	for why, n := range seen {
		t.Logf("%d lost: %.300s", n, why)
	}
	return out
}

// whole waits until some control leads, and has heard of all proxies that they are as they should be.
func (f *fleet) whole(since time.Time) {
	f.t.Helper()
	said := ""
	eventuallyElse(f.t, "control has heard of all", func() bool {
		for _, c := range f.controls {
			out, err := c.Run(f.palisade(), "status", "--format", "json", "--state", c.state)
			said = out
			var s admin.Status
			if err != nil || json.Unmarshal([]byte(out), &s) != nil || !s.Leads {
				continue
			}
			fine := map[string]bool{}
			for _, p := range s.Proxies {
				if p.Current && !p.Away && p.Seen.After(since) {
					fine[p.ID] = true
				}
			}
			return len(fine) == 3
		}
		return false
	}, func() string { return said })
}

// small are the troubles of a fleet with one control.
func small() []row {
	return []row{
		{name: "`kill -9` of control, away for a while", control: true, do: func(f *fleet) time.Time {
			f.controls[0].Kill()
			pause(f.t, *spell)
			over := time.Now()
			f.controls[0].start()
			return over
		}},
		{name: "`kill -9` of a sidecar, started again at once", do: func(f *fleet) time.Time {
			over := time.Now()
			f.back.Kill()
			f.back.start()
			return over
		}, killed: func(f *fleet) []*node { return []*node{f.back} }},
		{name: "`kill -9` of the edge, started again at once", do: func(f *fleet) time.Time {
			over := time.Now()
			f.edge.Kill()
			f.edge.start()
			return over
		}, killed: func(f *fleet) []*node { return []*node{f.edge} }},
		{name: "partition: control from everybody", control: true, do: func(f *fleet) time.Time {
			f.controls[0].Cut()
			pause(f.t, *spell)
			f.lab.Heal()
			return time.Now()
		}},
		{name: "partition: one service from the other", do: func(f *fleet) time.Time {
			f.front.Cut(f.back.Host)
			pause(f.t, *spell)
			f.lab.Heal()
			return time.Now()
		}},
		{name: "10 % of packets lost at every host", do: func(f *fleet) time.Time {
			for _, n := range append([]*node{f.edge, f.front, f.back}, f.controls...) {
				n.Lose(5) // where two hosts speak, both lose: 9.75 % between any two
			}
			pause(f.t, 2**spell)
			f.lab.Heal()
			return time.Now()
		}},
		{name: "slow disk: each fsync of a sidecar takes 100 ms more", do: func(f *fleet) time.Time {
			f.back.kernel.Slow(100 * time.Millisecond)
			pause(f.t, *spell)
			f.back.kernel.Slow(0)
			return time.Now()
		}},
		{name: "slow disk: each fsync of control takes 500 ms more", do: func(f *fleet) time.Time {
			f.controls[0].kernel.Slow(500 * time.Millisecond)
			pause(f.t, *spell)
			f.controls[0].kernel.Slow(0)
			return time.Now()
		}},
		{name: "clock of a sidecar jumps 20 minutes ahead, and back", do: jump(func(f *fleet) *node { return f.back }, 20*time.Minute)},
		{name: "clock of a sidecar jumps 20 minutes back, and ahead again", do: jump(func(f *fleet) *node { return f.back }, -20*time.Minute)},
		{name: "clock of a sidecar jumps two hours ahead, past the end of its SVID, and back", do: jump(func(f *fleet) *node { return f.back }, 2*time.Hour)},
		{name: "clock of control jumps 20 minutes ahead, and back", control: true, do: jump(func(f *fleet) *node { return f.controls[0] }, 20*time.Minute)},
		{name: "disk of control full", control: true, do: func(f *fleet) time.Time { return f.fill(f.controls[0], false) }},
		{name: "disk of a sidecar full (audit strict), started again with room", do: func(f *fleet) time.Time {
			return f.fill(f.back, true)
		}, killed: func(f *fleet) []*node { return []*node{f.back} }},
	}
}

func jump(of func(*fleet) *node, by time.Duration) func(*fleet) time.Time {
	return func(f *fleet) time.Time {
		of(f).kernel.Jump(by)
		pause(f.t, *spell)
		of(f).kernel.Jump(0)
		return time.Now()
	}
}

// fill fills the disk of a node's state, which is a small one of its own, and makes room again.
func (f *fleet) fill(n *node, again bool) time.Time {
	f.t.Helper()
	filler := filepath.Join(n.Inside(n.state), "filler")
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=64k").CombinedOutput(); err == nil || !strings.Contains(string(out), "No space left") {
		f.t.Fatalf("the disk of %s did not fill: %v %s", n.Name, err, out)
	}
	pause(f.t, *spell)
	if err := os.Remove(filler); err != nil {
		f.t.Fatal(err)
	}
	over := time.Now()
	if again {
		if err := n.Stop(); err != nil {
			f.t.Logf("stopped: %v", err)
		}
		n.start()
	}
	return over
}

const (
	begin = "<!-- figures: begin, written by make reliability -->"
	end   = "<!-- figures: end -->"
)

// writeTable replaces the figures of docs/reliability.md.
func writeTable(t *testing.T, results []result, storms []storm) {
	t.Helper()
	const path = "../../docs/reliability.md"
	text := fleettest.Read(t, path)
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for figures", path)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nMeasured on %s, %d cores shared by all hosts, %s, troubles of %s.\n\n", begin, time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), *spell)
	b.WriteString("| trouble | lasted, s | requests sent | requests lost | seconds to heal | control whole again, s | records acknowledged | of these lost |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range results {
		whole := "" // not waited for
		if r.whole > 0 {
			whole = fmt.Sprintf("%.1f", r.whole.Seconds())
		}
		fmt.Fprintf(&b, "| %s | %.1f | %d | %d | %.1f | %s | %d | %d |\n", r.name, r.lasted.Seconds(), r.sent, r.lost, r.heal.Seconds(), whole, r.acknowledged, r.events)
	}
	b.WriteString("\n| storm | workloads | seconds until all have SVIDs | failed attempts | CPU of control, s | CPU of the workloads, s | requests sent | requests lost | records acknowledged | of these lost |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range storms {
		for _, p := range s.phases {
			fmt.Fprintf(&b, "| %s | %d | %.1f | %d | %.1f | %.1f | %d | %d | %d | %d |\n", p.name, s.workloads, p.took.Seconds(), p.errors, p.control.Seconds(), p.swarm.Seconds(),
				p.sent, p.lost, p.acknowledged, p.events)
		}
	}
	b.WriteString("\n")
	if err := os.WriteFile(path, []byte(before+b.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
