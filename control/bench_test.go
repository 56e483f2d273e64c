package control_test

import (
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/model"
)

// bigFleet is a model of n services with four callers each.
func bigFleet(t testing.TB, n int, lifetime string) *model.Snapshot {
	t.Helper()
	var texts []string
	var b strings.Builder
	b.WriteString("version: 1\nfleet: big\ntrust_domain: " + domain + "\nmesh: {svid: {lifetime: " + lifetime + "}}\n" +
		"edge: {listeners: {main: {address: \"127.0.0.1:8443\", tls: {local: true}}}}\nservices:\n")
	for i := range n {
		if i%500 == 499 {
			texts = append(texts, b.String())
			b.Reset()
			b.WriteString("services:\n")
		}
		fmt.Fprintf(&b, "  s%d:\n    address: http://10.%d.%d.1:80\n    callers: [s%d, s%d, s%d, s%d]\n    serve: [{path: /a}, {path: \"/b/{id}\", methods: [GET]}]\n",
			i, i/250, i%250, (i+1)%n, (i+2)%n, (i+3)%n, (i+4)%n)
	}
	return compile(t, append(texts, b.String())...)
}

// memory is a Keeper without a disk: a thousand proxies on one host would measure that.
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

// BenchmarkPush pushes a model that changes every slice to connected proxies, each with its own connections, watches and
// verification, all in one process with control. "told" is from the signing of a slice to its confirmation at control, the
// way of the report included.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{100, 300, 1000} {
		b.Run(fmt.Sprintf("proxies=%d", n), func(b *testing.B) { benchmarkPush(b, n) })
	}
}

func benchmarkPush(b *testing.B, n int) {
	models := []*model.Snapshot{bigFleet(b, max(n, 1000), "1h"), bigFleet(b, max(n, 1000), "59m")}
	s := newSite(b, models[0], func(o *control.Options) { o.Lease = 20 * time.Second })
	c := s.start()
	keeper := &memory{all: map[string][]byte{}}
	proxies := make([]*proxy, n)
	begun := time.Now()
	for i := range proxies {
		name := fmt.Sprint("service/s", i)
		token, err := c.Token(b.Context(), admin.TokenRequest{Name: name})
		must(b, err)
		p := newProxy(b, s, name, b.TempDir(), func(o *client.Options) {
			o.JoinToken, o.Keeper, o.Every = token.Token, keeper, 15*time.Second // two cores run all of them
		})
		proxies[i] = p.run()
		if i%50 < 49 && i < n-1 {
			continue
		}
		for _, p := range proxies[:i+1] { // a host of two cores is no fleet: they come in groups
			for p.Ready() != nil {
				<-time.After(10 * time.Millisecond)
			}
		}
	}
	b.Logf("%d proxies enrolled and served after %v", n, time.Since(begun))
	eventually(b, "all are seen", func() bool { return len(c.Status().Proxies) == n })
	a := s.admin()
	var told []time.Duration
	round := 0
	for b.Loop() {
		round++
		out, err := a.Apply(b.Context(), admin.ApplyRequest{
			Model: encode(b, models[round%2]), Before: models[(round+1)%2].Version, Watch: model.Duration(time.Millisecond),
		})
		must(b, err)
		if out.Outcome != admin.Applied || out.Reason != "" {
			b.Fatalf("%+v", out)
		}
		for _, r := range c.Status().Proxies {
			told = append(told, r.Lag.Std())
		}
	}
	quantile := func(all []time.Duration, q float64) float64 {
		slices.Sort(all)
		return float64(all[int(q*float64(len(all)-1))]) / 1e6
	}
	b.ReportMetric(quantile(told, 0.5), "told-p50-ms")
	b.ReportMetric(quantile(told, 0.99), "told-p99-ms")
	var wg sync.WaitGroup
	for _, p := range proxies {
		wg.Go(p.stop)
	}
	wg.Wait()
}

// BenchmarkMemory starts control for fleets of two sizes, every slice published, and shows its heap: model, indexes, what
// was said, and the embedded bus.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s := newSite(b, bigFleet(b, n, "1h"), func(o *control.Options) { o.Lease = time.Minute })
				begun := time.Now()
				s.start()
				took := time.Since(begun)
				s.first = nil // control has its own
				used := heap() - before
				b.ReportMetric(float64(used)/(1<<20), "MiB")
				b.ReportMetric(float64(used)/float64(n), "B/service")
				b.ReportMetric(took.Seconds(), "s-until-it-leads")
				s.stop()
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
