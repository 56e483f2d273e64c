package netlab

import (
	"fmt"
	"os/exec"
	"strings"
)

// cut is a pair of addresses between which nothing passes.
type cut struct{ a, b string }

// Cut drops everything between a host and others, without a word to either. Without others: between it and everybody,
// the test itself too.
func (h *Host) Cut(others ...*Host) {
	h.lab.t.Helper()
	for _, o := range others {
		h.lab.cuts = append(h.lab.cuts, cut{h.IP, o.IP})
	}
	if len(others) == 0 {
		h.lab.cuts = append(h.lab.cuts, cut{a: h.IP})
	}
	h.lab.trouble()
}

// Lose drops each packet to and from the host with a probability, in per cent. The dice are nftables' numgen, since not
// every kernel has tc netem.
func (h *Host) Lose(percent int) {
	h.lab.t.Helper()
	h.loses = percent
	h.lab.trouble()
}

// Heal ends every trouble of the network.
func (l *Lab) Heal() {
	l.t.Helper()
	l.cuts = nil
	for _, h := range l.hosts {
		h.loses = 0
	}
	l.trouble()
}

// trouble tells the switch what not to carry. ARP stays, as it would between hosts that have spoken before.
func (l *Lab) trouble() {
	l.t.Helper()
	var rules strings.Builder
	for _, c := range l.cuts {
		if c.b == "" {
			fmt.Fprintf(&rules, "ip saddr %s drop\nip daddr %s drop\n", c.a, c.a)
			continue
		}
		fmt.Fprintf(&rules, "ip saddr %s ip daddr %s drop\nip saddr %s ip daddr %s drop\n", c.a, c.b, c.b, c.a)
	}
	for _, h := range l.hosts {
		if h.loses > 0 {
			fmt.Fprintf(&rules, "ip saddr %s numgen random mod 100 < %d drop\nip daddr %s numgen random mod 100 < %d drop\n", h.IP, h.loses, h.IP, h.loses)
		}
	}
	// What comes from the test or goes to it does not pass the forward hook.
	text := "table bridge trouble\ndelete table bridge trouble\ntable bridge trouble {\nchain rules {\n" + rules.String() + `}
chain input { type filter hook input priority 0; jump rules; }
chain forward { type filter hook forward priority 0; jump rules; }
chain output { type filter hook output priority 0; jump rules; }
`
	cmd := exec.CommandContext(l.t.Context(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text + "}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v\n%s%s", err, out, text)
	}
}
