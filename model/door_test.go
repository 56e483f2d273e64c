package model

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// TestDoors holds where a service finds others: in its slice exactly as in the whole.
func TestDoors(t *testing.T) {
	whole := meshModel(t)
	slice := whole.ForService("orders")
	doors := slice.Doors("orders")
	var got []string
	for _, d := range doors {
		got = append(got, fmt.Sprint(d.Name, " ", d.Port, " at ", d.At.Port(), " tcp ", d.TCP, " outside ", d.Outside))
		if !netip.MustParsePrefix("127.0.0.0/8").Contains(d.At.Addr()) || (d.Name == "") != (d.At.Addr() == Undeclared()) {
			t.Errorf("%+v", d)
		}
		if d.Name != "" && !slices.Contains(whole.Doors("orders"), d) {
			t.Errorf("not in the whole: %+v", d)
		}
	}
	slices.Sort(got)
	want := []string{
		" 7002 at 7002 tcp false outside false", " 80 at 80 tcp false outside false",
		"bus 7005 at 7005 tcp true outside false", "catalog 7002 at 7002 tcp false outside false", "catalog 7002 at 80 tcp false outside false",
		"db 7004 at 7004 tcp true outside false", "pay.example.com 443 at 443 tcp false outside true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if hosts := Hosts(doors); hosts["catalog"] != hosts["catalog.mesh.internal"] || len(hosts) != 7 || hosts["catalog"].String() != slice.ServiceByName("catalog").Loopback {
		t.Errorf("hosts %v", hosts)
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
