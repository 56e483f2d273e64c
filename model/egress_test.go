package model

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"9.9.9.9": true, "93.184.215.14": true, "2620:fe::fe": true, "2a00:1450::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.128.0.1": true, "127.0.0.1": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.32.0.1": true, "192.0.0.8": false, "192.0.2.1": false,
		"192.88.99.1": false, "192.168.1.1": false, "198.18.0.1": false, "198.20.0.1": true, "198.51.100.1": false,
		"203.0.113.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:10.0.0.1": false, "::ffff:9.9.9.9": true, "::9.9.9.9": false,
		"64:ff9b::909:909": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:909:909::1": false,
		"3fff::1": false, "fc00::1": false, "fe80::1%eth0": false, "ff02::1": false, "2620:fe::fe%eth0": true,
	} {
		if got := Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("Public(%s) = %t", address, got)
		}
	}
}
