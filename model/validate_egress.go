package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// egress checks hosts outside the fleet. What is inside is declared as a service, so that it is called by name
// and with an identity.
func (c *checker) egress(key string, list []Egress) {
	for i, e := range list {
		at := index(key, i)
		if e.Host == "" {
			continue
		}
		if e.Port == 0 && e.Protocol == "tcp" {
			c.failKey("missing-key", at, `key "port" is missing; expected the port of a tcp host`, "")
		}
		if !c.outside(at+".host", e) {
			continue
		}
		for j, o := range list[:i] {
			if o.Host == e.Host && egressPort(o) == egressPort(e) {
				c.collide("duplicate-egress", at, index(key, j), fmt.Sprintf("%s:%d stands here twice", e.Host, egressPort(e)), "keep one of them")
				break
			}
		}
	}
}

// egressPort is the port of an egress that names none.
func egressPort(e Egress) int {
	if e.Protocol == "http" {
		return or(e.Port, 80)
	}
	return or(e.Port, 443)
}

// outside tells whether a host can be outside of the fleet, and reports why not.
func (c *checker) outside(key string, e Egress) bool {
	if address, err := netip.ParseAddr(strings.Trim(e.Host, "[]")); err == nil {
		switch {
		case !Public(address):
			c.fail("private-egress", key, quote(e.Host)+" is not an address of the public Internet", "declare what is inside as a service and call it by name")
		case or(e.Protocol, DefaultEgress) == "tls":
			c.fail("bad-host", key, quote(e.Host)+" is an address, and TLS names hosts alone (RFC 6066, section 3)", "write the host's name, or protocol: tcp")
		case strings.HasPrefix(e.Host, "["):
			c.fail("bad-host", key, quote(e.Host)+" is not a host", "write it without brackets: "+address.String())
		default:
			return true
		}
		return false
	}
	if strings.Contains(e.Host, "*") {
		c.fail("bad-host", key, quote(e.Host)+" means hosts that nobody has counted; expected one exact name", "name each host by itself")
		return false
	}
	if text, hint := badHost(e.Host); text != "" {
		c.fail("bad-host", key, strings.Replace(text, ", or *. before one", "", 1), hint)
		return false
	}
	labels := strings.Split(e.Host, ".")
	last := labels[len(labels)-1]
	_, service := c.Fleet.Services[strings.TrimSuffix(e.Host, MeshHost)]
	switch {
	case service:
		c.fail("private-egress", key, quote(e.Host)+" is a service of this fleet", "add this service to its callers instead")
	case len(labels) == 1 || slices.Contains([]string{"localhost", "local", "internal", "invalid", "test"}, last) || strings.HasSuffix(e.Host, ".home.arpa"):
		c.fail("private-egress", key, quote(e.Host)+" is a name from inside, not of the public Internet", "declare what is inside as a service and call it by name")
	case last[0] >= '0' && last[0] <= '9':
		c.fail("bad-host", key, quote(e.Host)+" is neither a name nor an address", "some programs read such names as an address")
	default:
		return true
	}
	return false
}

// Public tells whether an address belongs to the public Internet: no private, local, shared, documentation,
// translated or otherwise reserved range (RFC 6890 and IANA's special-purpose registries). Addresses that embed
// an IPv4 address are judged by it.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	ranges := []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	}
	if a.Is6() {
		// All that is routed is in 2000::/3 (RFC 4291); the rest of it that is not stands here.
		if b := a.As16(); b[0]>>5 != 1 {
			return false
		}
		ranges = []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"}
	}
	return !slices.ContainsFunc(ranges, func(r string) bool { return netip.MustParsePrefix(r).Contains(a) })
}
