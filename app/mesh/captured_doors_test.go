package mesh

import (
	"net/netip"
	"testing"

	"github.com/palisade-security/palisade/model"
)

// TestDoorsTo holds what each address stands for to a captured service.
func TestDoorsTo(t *testing.T) {
	slice := &model.Snapshot{Services: []model.ResolvedService{
		{Name: "orders", Address: "http://10.0.0.1:80", Loopback: "127.64.0.9"},
		{Name: "catalog", Address: "http://10.0.0.2:8080", Loopback: "127.64.0.2", Sidecars: []string{"10.0.0.2:9443", "catalog.internal:9443"}},
		{Name: "ledger", Address: "tcp://[2001:db8::3]:5432", Loopback: "127.64.0.3"},
		{Name: "one", Address: "http://127.0.0.1:8080", Loopback: "127.64.0.4"},
		{Name: "two", Address: "http://127.0.0.1:8080", Loopback: "127.64.0.5"},
		{Name: "queue", Address: "tcp://10.0.0.7:4222", Loopback: "127.64.0.6", Sidecars: []string{"10.0.0.8:9443"}},
		{Name: "cache", Address: "tcp://10.0.0.7:4222", Loopback: "127.64.0.7", Sidecars: []string{"10.0.0.8:9443"}},
		{Name: "mixed", Address: "http://10.0.0.8:9443", Loopback: "127.64.0.8"},
		{Name: "mapped", Address: "http://[::ffff:10.0.0.9]:80", Loopback: "127.64.0.10"},
	}}
	got := doorsTo(slice, "orders")
	for at, want := range map[string]model.Door{
		"127.64.0.2:8080":    {Name: "catalog", Port: 8080},
		"127.64.0.2:80":      {Name: "catalog", Port: 8080},
		"10.0.0.2:8080":      {Name: "catalog", Port: 8080},
		"10.0.0.2:9443":      {Name: "catalog", Port: 8080},
		"[2001:db8::3]:5432": {Name: "ledger", Port: 5432, TCP: true},
		"127.64.0.3:5432":    {Name: "ledger", Port: 5432, TCP: true},
		"127.0.0.1:8080":     {Port: 8080}, // the request says which of the two
		"127.64.0.4:8080":    {Name: "one", Port: 8080},
		"10.0.0.9:80":        {Name: "mapped", Port: 80},
		"127.64.0.1:80":      {Port: 80},
	} {
		if d, ok := got[netip.MustParseAddrPort(at)]; !ok || d != want {
			t.Errorf("%s: got %+v %v, want %+v", at, d, ok, want)
		}
	}
	for _, at := range []string{"10.0.0.1:80", "127.64.0.9:80", "10.0.0.2:80", "10.0.0.7:4222", "10.0.0.8:9443", "127.64.0.3:80"} {
		if d, ok := got[netip.MustParseAddrPort(at)]; ok {
			t.Errorf("%s: got %+v, want nothing", at, d)
		}
	}
}
