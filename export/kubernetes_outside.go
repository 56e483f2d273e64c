package export

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"github.com/palisade-security/palisade/model"
)

// issuers adds the providers that the edge asks for keys.
func (k *kubernetes) issuers(rules list) list {
	seen := map[string]bool{}
	for _, p := range k.Providers {
		for _, address := range []string{p.Issuer, p.JWKSURL} {
			if u, err := url.Parse(address); p.Development || err != nil || u.Hostname() == "" || p.JWKSFile != "" || address == p.Issuer && p.JWKSURL != "" {
				continue // its keys come from a file, or from the other address
			}
			host, number := split(address)
			if at := fmt.Sprint(host, number); !seen[at] {
				seen[at] = true
				rules = k.outside(rules, "providers."+p.Name, host, number)
			}
		}
	}
	return rules
}

// collector adds where traces go.
func (k *kubernetes) collector(rules list) list {
	if k.Telemetry.OTLP == "" {
		return rules
	}
	host, number := split(k.Telemetry.OTLP)
	if local(host) {
		return rules // in the pod itself
	}
	return k.inside(rules, "telemetry.otlp", host, number, "traces")
}

// inside adds a host that may be of this network. Without its address nothing is opened.
func (k *kubernetes) inside(rules list, key, host string, number int, title string) list {
	at := k.at(host)
	if len(at) == 0 {
		k.gap(key, "%s is a name, and policies know addresses alone; nothing is opened until --cidr %s=… says which", host, host)
		return rules
	}
	return append(rules, block(fmt.Sprintf("%s at %s", title, host), at, number))
}

// outside adds a host of the public Internet. Without its addresses all of that is opened on its port.
func (k *kubernetes) outside(rules list, key, host string, number int) list {
	at := k.at(host)
	for _, prefix := range at {
		if !public(prefix) {
			k.fail("--cidr "+host, "%s is not a range of the public Internet; %s is declared as outside", prefix, key)
		}
	}
	if len(at) > 0 {
		return append(rules, block("outside: "+host, at, number))
	}
	k.gap(key, "%s is a name, and policies know addresses alone: all public addresses are open on port %d, and only the proxy in the pod holds the name; --cidr %s=… narrows it", host, number, host)
	return append(rules, marked{comment: "outside: " + host + ", and every other public address", value: fields{
		{"to", list{
			fields{{"ipBlock", fields{{"cidr", "0.0.0.0/0"}, {"except", words(notPublic4()...)}}}},
			fields{{"ipBlock", fields{{"cidr", "2000::/3"}, {"except", words(notPublic6()...)}}}},
		}},
		{"ports", tcp([]int{number})},
	}})
}

// public tells whether a range lies within the public Internet.
func public(p netip.Prefix) bool {
	if !model.Public(p.Addr()) {
		return false
	}
	within, except := "0.0.0.0/0", notPublic4()
	if p.Addr().Is6() {
		within, except = "2000::/3", notPublic6()
	}
	return p.Bits() >= netip.MustParsePrefix(within).Bits() &&
		!slices.ContainsFunc(except, func(e string) bool { return netip.MustParsePrefix(e).Overlaps(p) })
}

// at returns where a host is: its address, or what the options say.
func (k *kubernetes) at(host string) []netip.Prefix {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Prefix{single(a)}
	}
	k.used[host] = true
	at := slices.Clone(k.o.CIDRs[host])
	slices.SortFunc(at, netip.Prefix.Compare)
	return slices.Compact(at)
}

func block(title string, at []netip.Prefix, number int) marked {
	var peers list
	for _, prefix := range at {
		peers = append(peers, fields{{"ipBlock", fields{{"cidr", prefix.Masked().String()}}}})
	}
	return marked{comment: title, value: fields{{"to", peers}, {"ports", tcp([]int{number})}}}
}

// notPublic4 are the ranges of IPv4 that are not of the public Internet (IANA IPv4 Special-Purpose Address
// Registry; multicast and what is reserved).
func notPublic4() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
	}
}

// notPublic6 are the ranges within 2000::/3 that are not (IANA IPv6 Special-Purpose Address Registry).
func notPublic6() []string {
	return []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"}
}
