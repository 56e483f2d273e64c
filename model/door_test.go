package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestDoors holds where services find others: in their slices exactly as in the whole.
func TestDoors(t *testing.T) {
	whole := meshModel(t)
	for service, want := range map[string][]string{
		"web": {
			" 80 at 80 tcp false outside false", " 7002 at 7002 tcp false outside false", " 7003 at 7003 tcp false outside false",
			"catalog 7002 at 80 tcp false outside false", "catalog 7002 at 7002 tcp false outside false",
			"orders 7003 at 80 tcp false outside false", "orders 7003 at 7003 tcp false outside false",
		},
		"orders": {
			" 80 at 80 tcp false outside false", "bus 4222 at 4222 tcp true outside false", "db 5432 at 5432 tcp true outside false",
			"crl.example.com 80 at 80 tcp false outside true", "mail.example.com 25 at 25 tcp false outside true", "pay.example.com 443 at 443 tcp false outside true",
		},
	} {
		doors := whole.ForService(service).Doors(service)
		var got []string
		for _, d := range doors {
			got = append(got, fmt.Sprint(d.Name, " ", d.Port, " at ", d.At.Port(), " tcp ", d.TCP, " outside ", d.Outside))
			if !d.At.Addr().IsLoopback() || (d.Name == "") != (d.At.Addr() == Undeclared()) {
				t.Errorf("%s: %+v", service, d)
			}
			if !slices.Contains(whole.Doors(service), d) {
				t.Errorf("%s: not in the whole: %+v", service, d)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q", service, got)
		}
		for name, at := range Hosts(doors) {
			if s := whole.ServiceByName(strings.TrimSuffix(name, MeshHost)); s != nil && s.Loopback != at.String() {
				t.Errorf("%s finds %s at %s", service, name, at)
			}
		}
	}
}

// TestAddressesStay holds that addresses are distinct, and that a service more moves hardly any.
func TestAddressesStay(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("service-%04d", i))
	}
	before := addresses(names, doorsAt, doorsSize)
	after := addresses(slices.Insert(slices.Clone(names), 0, "a"), doorsAt, doorsSize)
	seen, moved := map[netip.Addr]bool{}, 0
	for _, name := range names {
		if seen[before[name]] || !netip.MustParsePrefix("127.64.0.0/10").Contains(before[name]) || before[name] == Undeclared() {
			t.Errorf("%s at %s", name, before[name])
		}
		seen[before[name]] = true
		if before[name] != after[name] {
			moved++
		}
	}
	if moved > 1 {
		t.Errorf("%d moved", moved)
	}
}
