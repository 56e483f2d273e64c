package capture

import (
	"fmt"
	"strconv"
	"strings"
)

// prefix is how the names of all tables of this package begin. The rest is the name of the service.
const prefix = "palisade_capture_"

// The counters of a table.
const (
	counterCaptured = "captured"    // connections that went to the sidecar
	counterOut      = "refused-out" // packets of the service that were dropped
	counterIn       = "refused-in"  // packets to the service, or in the name of one of the two, that were dropped
)

// The prefixes of what is logged.
const (
	logOut = "palisade out"
	logIn  = "palisade in"
)

// text is a ruleset as it grows.
type text struct {
	*Rules
	b strings.Builder
}

// Text returns the ruleset, for "nft -f": one table, which it replaces as a whole.
//
// The chain takes redirects connections. It stands before the host's own translations, so that none of them gets a
// connection first. The chain leaves judges what has been routed, by the interface that it really goes out of: a socket
// that is bound to another one is not brought to the sidecar by a redirect.
func (r *Rules) Text() (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	t := &text{Rules: r}
	table := "table inet " + prefix + r.Service
	t.line(0, "# Brings what service %s asks to its sidecar. Made by \"palisade capture\".", r.Service)
	t.line(0, "%s", table)
	t.line(0, "delete %s", table)
	t.line(0, "")
	t.line(0, "%s {", table)
	t.line(1, "counter %s {", counterCaptured)
	t.line(2, "comment %q", r.about())
	t.line(1, "}")
	t.line(0, "")
	t.drop("refuse-out", counterOut, logOut)
	t.drop("refuse-in", counterIn, logIn)
	if len(r.Users) > 0 {
		t.ofUsers()
	} else {
		t.ofNamespace()
	}
	t.line(1, "chain arrives {")
	t.line(2, "type filter hook input priority filter; policy accept;")
	t.line(2, `iif != "lo" tcp dport %s goto refuse-in`, t.guarded())
	t.line(1, "}")
	t.line(0, "}")
	return t.b.String(), nil
}

// guarded are the ports that nobody reaches from outside.
func (t *text) guarded() string {
	if t.Serves == 0 {
		return strconv.Itoa(int(t.Port))
	}
	return fmt.Sprintf("{ %d, %d }", t.Serves, t.Port)
}

// ofUsers captures what some users of a host send. What others send is left alone, unless it is for the service or
// pretends to be of it or its sidecar.
func (t *text) ofUsers() {
	users, sidecar := set(t.Users), set([]User{*t.Sidecar})
	t.line(1, "chain connects {")
	t.resolvers("tcp")
	t.redirect()
	t.line(1, "}")
	t.line(0, "")
	t.line(1, "chain takes {")
	t.line(2, "type nat hook output priority -110; policy accept;")
	t.line(2, "meta skuid %s goto connects", users)
	t.line(1, "}")
	t.line(0, "")
	t.line(1, "chain asks {")
	t.line(2, `oif "lo" tcp dport %d accept`, t.Port)
	if t.Serves != 0 {
		t.line(2, `oif "lo" ct direction reply tcp sport %d accept`, t.Serves)
	}
	t.resolvers("tcp", "udp")
	t.line(2, "goto refuse-out")
	t.line(1, "}")
	t.line(0, "")
	t.line(1, "chain leaves {")
	t.line(2, "type filter hook postrouting priority filter; policy accept;")
	if t.Serves != 0 {
		t.line(2, `oif "lo" ct direction original tcp dport %d meta skuid != %s goto refuse-in`, t.Serves, sidecar)
	}
	t.line(2, `oif "lo" ct direction original tcp dport %d meta skuid != %s goto refuse-in`, t.Port, users)
	t.line(2, `oif "lo" ct direction reply tcp sport %d meta skuid != %s goto refuse-in`, t.Port, sidecar)
	t.line(2, "meta skuid %s goto asks", users)
	t.line(1, "}")
	t.line(0, "")
}

// ofNamespace captures what a whole network namespace sends to others. Loopback is the service's own.
func (t *text) ofNamespace() {
	t.line(1, "chain takes {")
	t.line(2, "type nat hook output priority -110; policy accept;")
	t.line(2, "ip daddr 127.0.0.0/8 accept")
	t.line(2, "ip6 daddr ::1 accept")
	if t.Sidecar != nil {
		t.line(2, "meta skuid %d accept", t.Sidecar.ID)
	}
	t.resolvers("tcp")
	t.redirect()
	t.line(1, "}")
	t.line(0, "")
	t.line(1, "chain leaves {")
	t.line(2, "type filter hook postrouting priority filter; policy accept;")
	t.line(2, `oif "lo" ip daddr 127.0.0.0/8 accept`)
	t.line(2, `oif "lo" ip6 daddr ::1 accept`)
	t.line(2, `oif "lo" ct direction reply accept`)
	if t.Sidecar != nil {
		t.line(2, "meta skuid %d accept", t.Sidecar.ID)
	}
	t.resolvers("tcp", "udp")
	if t.Sidecar != nil {
		t.line(2, "meta skuid != %d goto refuse-out", t.Sidecar.ID)
		t.line(2, "ct state established,related accept comment \"what the kernel sends for sockets that are closed\"")
		t.line(2, "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report } accept")
		t.line(2, "ip protocol igmp drop")
	}
	t.line(2, "goto refuse-out")
	t.line(1, "}")
	t.line(0, "")
}

func (t *text) redirect() {
	t.line(2, "meta l4proto tcp counter name %s redirect to :%d", counterCaptured, t.Port)
}

// resolvers lets DNS pass.
func (t *text) resolvers(protocols ...string) {
	for _, a := range t.Resolvers {
		family := "ip6"
		if a.Is4() {
			family = "ip"
		}
		for _, protocol := range protocols {
			t.line(2, "%s daddr %s %s dport 53 accept", family, a, protocol)
		}
	}
}

// drop writes the chain in which something ends.
func (t *text) drop(chain, counter, words string) {
	t.line(1, "counter %s {", counter)
	t.line(1, "}")
	t.line(0, "")
	t.line(1, "chain %s {", chain)
	t.line(2, "counter name %s", counter)
	t.line(2, "log prefix %q group %d snaplen %d", words, t.Port, snaplen)
	t.line(2, "drop")
	t.line(1, "}")
	t.line(0, "")
}

func (t *text) line(depth int, format string, values ...any) {
	t.b.WriteString(strings.TrimRight(strings.Repeat("\t", depth)+fmt.Sprintf(format, values...), "\t") + "\n")
}

func set(users []User) string {
	out := make([]string, len(users))
	for i, u := range users {
		out[i] = strconv.FormatUint(uint64(u.ID), 10)
	}
	return "{ " + strings.Join(out, ", ") + " }"
}
