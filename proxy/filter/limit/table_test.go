package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

const million = 1_000_000

// nth is a client in its own /64.
func nth(i uint64) netip.Addr {
	var b [16]byte
	b[0] = 0x20
	binary.BigEndian.PutUint64(b[:8], 0x20010db800000000+i)
	return netip.AddrFrom16(b)
}

func flood(t testing.TB, f proxy.Filter, from, n uint64) (refused int) {
	t.Helper()
	r := &proxy.Request{}
	for i := range n {
		r.Client = nth(from + i)
		if f.Filter(t.Context(), r) != nil {
			refused++
		}
		r.Answer = r.Answer[:0]
	}
	return refused
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMillionKeys(t *testing.T) {
	clock := newHand()
	start := heap()
	store := NewStore(million)
	f, _ := Compile([]model.Limit{per("address", "2/1h")}, "r", "s", store, clock.now)
	if refused := flood(t, f, 0, million); refused != 0 {
		t.Fatalf("%d first requests refused", refused)
	}
	used := heap() - start
	t.Logf("1,000,000 keys: %.1f bytes per key, %d live keys forgotten", float64(used)/million, f.(*stage).limits[0].table.evicted.Load())
	if used > 32*million {
		t.Errorf("%d bytes for a million keys", used)
	}
	if n := f.(*stage).limits[0].table.evicted.Load(); n > million/2000 {
		t.Errorf("%d of a million keys forgotten within the capacity", n)
	}
	flood(t, f, million, 3*million)
	if more := heap() - start; more > 32*million {
		t.Errorf("%d bytes after four million keys", more)
	}
	runtime.KeepAlive(f)
}

// TestFloodDoesNotFreeTheIndebted fills the table several times over with fresh keys and expects a client that
// has used up its quota to stay refused.
func TestFloodDoesNotFreeTheIndebted(t *testing.T) {
	clock := newHand()
	f, _ := Compile([]model.Limit{per("address", "10/1h")}, "r", "s", NewStore(1000), clock.now)
	victims := make([]*proxy.Request, 50)
	for i := range victims {
		victims[i] = &proxy.Request{Client: nth(1<<40 + uint64(i))}
		passes(t, f, victims[i], 10)
	}
	for round := range uint64(20) {
		flood(t, f, round*10_000, 10_000)
		clock.advance(time.Second)
		for i, v := range victims {
			if passes(t, f, v, 1) != 0 {
				t.Fatalf("round %d: client %d passes again after a flood", round, i)
			}
		}
	}
}

// TestExpiredGoFirst expects keys whose quota is whole again to make room before any live key goes.
func TestExpiredGoFirst(t *testing.T) {
	clock := newHand()
	f, _ := Compile([]model.Limit{per("address", "60/1m")}, "r", "s", NewStore(2000), clock.now)
	table := f.(*stage).limits[0].table
	for round := range uint64(10) {
		flood(t, f, round*2000, 1500)
		clock.advance(2 * time.Second)
	}
	if n := table.evicted.Load(); n > 20 {
		t.Errorf("%d live keys forgotten though every earlier one had expired", n)
	}
}

// TestAgainstMap compares a table that never runs full with a plain map.
func TestAgainstMap(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	q := newQuota(model.Limit{Rate: model.Rate{Count: 5, Window: time.Second}})
	table, naive := newTable(1, 1<<16), make(map[uint64]int64)
	now := int64(0)
	for range 200_000 {
		now += random.Int64N(100_000)
		key := nonZero(random.Uint64N(3000) * 0x9e3779b97f4a7c15)
		part := table.part(key)
		arrival := now
		s := part.find(key)
		if s != nil {
			arrival = s.arrival
		}
		got, want := q.decide(arrival, now), q.decide(naive[key], now)
		if got != want {
			t.Fatalf("key %x at %d: %+v, the map says %+v", key, now, got, want)
		}
		if got.wait > 0 {
			continue
		}
		naive[key] = got.next
		if s != nil {
			s.arrival = got.next
		} else {
			table.insert(part, key, got.next, now)
		}
	}
	if n := table.evicted.Load(); n != 0 {
		t.Errorf("%d evicted", n)
	}
}

func BenchmarkPass(b *testing.B) {
	for name, limits := range map[string][]model.Limit{
		"address":            {{Per: "address", Rate: parseRate("1000000/1s"), Burst: 1 << 40}},
		"user-route-service": {{Per: "user", Rate: parseRate("1000000/1s"), Burst: 1 << 40}, {Per: "route", Rate: parseRate("1000000/1s"), Burst: 1 << 40}, {Per: "service", Rate: parseRate("1000000/1s"), Burst: 1 << 40}},
	} {
		b.Run(name, func(b *testing.B) {
			before, after := Compile(limits, "r", "s", NewStore(0), nil)
			f := before
			if f == nil {
				f = after
			}
			r := user("idp", "a")
			r.Answer = r.Answer[:0]
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Filter(b.Context(), r); err != nil {
					b.Fatal(err)
				}
				r.Answer = r.Answer[:0]
			}
		})
	}
}

// BenchmarkBothStages is a request under a limit by address and one by user.
func BenchmarkBothStages(b *testing.B) {
	limits := []model.Limit{{Per: "address", Rate: parseRate("1000000/1s"), Burst: 1 << 40}, {Per: "user", Rate: parseRate("1000000/1s"), Burst: 1 << 40}}
	before, after := Compile(limits, "r", "s", NewStore(0), nil)
	r := user("idp", "a")
	b.ReportAllocs()
	for b.Loop() {
		r.Answer = r.Answer[:0]
		if before.Filter(b.Context(), r) != nil || after.Filter(b.Context(), r) != nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkMillionClients(b *testing.B) {
	f, _ := Compile([]model.Limit{per("address", "100/1m")}, "r", "s", NewStore(million), nil)
	flood(b, f, 0, million)
	b.RunParallel(func(pb *testing.PB) {
		r := &proxy.Request{}
		for i := rand.Uint64N(million); pb.Next(); i++ {
			r.Client = nth(i % million)
			_ = f.Filter(b.Context(), r)
			r.Answer = r.Answer[:0]
		}
	})
}
