package capture

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logged is a datagram of the kernel with one packet.
func logged(words string, uid, seq uint32, ip []byte) []byte {
	m := binary.NativeEndian.AppendUint32(nil, 0)
	m = binary.NativeEndian.AppendUint16(m, messagePacket)
	m = append(m, make([]byte, 10)...)
	m = append(m, unix.AF_INET, 0, 0x3a, 0x99)
	m = attribute(m, attributePrefix, append([]byte(words), 0))
	m = attribute(m, attributeUID, binary.BigEndian.AppendUint32(nil, uid))
	m = attribute(m, attributeSeq, binary.BigEndian.AppendUint32(nil, seq))
	m = attribute(m, attributeData, ip)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return m
}

func ipv4(protocol uint8, fragment uint16, rest ...byte) []byte {
	b := []byte{0x46, 0, 0, 0, 0, 0, byte(fragment >> 8), byte(fragment), 64, protocol, 0, 0, 10, 0, 0, 1, 203, 0, 113, 7, 1, 1, 1, 0}
	return append(b, rest...)
}

func ipv6(next uint8, rest ...byte) []byte {
	b := append([]byte{0x60, 0, 0, 0, 0, 0, next, 64}, make([]byte, 32)...)
	b[23], b[39] = 1, 7
	return append(b, rest...)
}

// ports are 4660 and 53.
func ports() []byte { return []byte{0x12, 0x34, 0, 53} }

func TestParseLog(t *testing.T) {
	for name, c := range map[string]struct {
		datagram []byte
		want     string // of the packet: protocol, from and to; empty: none
	}{
		"a datagram":                    {logged(logOut, 7, 1, ipv4(unix.IPPROTO_UDP, 0, ports()...)), "udp 10.0.0.1:4660 203.0.113.7:53"},
		"its headers alone":             {logged(logOut, 7, 1, ipv4(unix.IPPROTO_UDP, 0)), "udp 10.0.0.1:0 203.0.113.7:0"},
		"a later fragment":              {logged(logOut, 7, 1, ipv4(unix.IPPROTO_UDP, 1, ports()...)), "udp 10.0.0.1:0 203.0.113.7:0"},
		"a protocol without ports":      {logged(logIn, 7, 1, ipv4(unix.IPPROTO_ICMP, 0, ports()...)), "icmp 10.0.0.1:0 203.0.113.7:0"},
		"one without a name":            {logged(logIn, 7, 1, ipv4(200, 0, ports()...)), "200 10.0.0.1:0 203.0.113.7:0"},
		"IPv6":                          {logged(logIn, 7, 1, ipv6(unix.IPPROTO_TCP, ports()...)), "tcp [::1]:4660 [::7]:53"},
		"IPv6 with options":             {logged(logIn, 7, 1, ipv6(0, append([]byte{unix.IPPROTO_TCP, 0, 0, 0, 0, 0, 0, 0}, ports()...)...)), "tcp [::1]:4660 [::7]:53"},
		"IPv6 with options cut off":     {logged(logIn, 7, 1, ipv6(0, unix.IPPROTO_TCP, 200)), "0 [::1]:0 [::7]:0"},
		"IPv6, the first fragment":      {logged(logIn, 7, 1, ipv6(44, append([]byte{unix.IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 0}, ports()...)...)), "udp [::1]:4660 [::7]:53"},
		"IPv6, a later fragment":        {logged(logIn, 7, 1, ipv6(44, append([]byte{unix.IPPROTO_UDP, 0, 1, 0, 0, 0, 0, 0}, ports()...)...)), "udp [::1]:0 [::7]:0"},
		"nothing":                       {logged(logOut, 7, 1, nil), ""},
		"no IP":                         {logged(logOut, 7, 1, []byte("hello, this is no packet at all")), ""},
		"somebody else's":               {logged("something else", 7, 1, ipv4(unix.IPPROTO_UDP, 0, ports()...)), ""},
		"a header that is too short":    {logged(logOut, 7, 1, []byte{0x44, 0, 0}), ""},
		"a message that is longer":      {binary.NativeEndian.AppendUint32(nil, 1<<20), ""},
		"a message without a beginning": {make([]byte, 40), ""},
	} {
		got := ""
		parseLog(c.datagram, func(p packet) {
			got = protocolName(p.protocol) + " " + p.from.String() + " " + p.to.String()
			if p.uid != 7 || p.seq != 1 {
				t.Errorf("%s: got user %d and number %d", name, p.uid, p.seq)
			}
		})
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	n := 0
	parseLog(slices.Concat(logged(logOut, 7, 1, ipv4(17, 0)), logged("x", 7, 2, ipv4(17, 0)), logged(logIn, 7, 3, ipv4(17, 0))), func(packet) { n++ })
	if n != 2 {
		t.Errorf("of three packets, two of them ours, %d were seen", n)
	}
}

// FuzzParseLog holds that no packet makes the reader fail, whatever a service sends.
func FuzzParseLog(f *testing.F) {
	f.Add(logged(logOut, 7, 1, ipv4(unix.IPPROTO_UDP, 0, ports()...)))
	f.Add(logged(logIn, 7, 1, ipv6(0, append([]byte{44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0}, ports()...)...)))
	f.Add(ipv6(60, 0, 0, 0, 0, 0, 0, 0, 0, 43, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(p packet) {
			if !p.from.IsValid() || !p.to.IsValid() {
				t.Errorf("a packet from %v to %v", p.from, p.to)
			}
		}
		parseLog(b, check)
		var p packet
		if p.parseIP(b) {
			check(p)
		}
	})
}

func TestTally(t *testing.T) {
	now := time.Unix(1000, 0)
	t.Run("repeated", func(t *testing.T) {
		c := newTally("orders")
		p := packet{uid: 7, protocol: 17, from: netip.MustParseAddrPort("10.0.0.1:1000"), to: netip.MustParseAddrPort("203.0.113.7:53")}
		for i := range 100 {
			p.seq = uint32(i)
			p.from = netip.AddrPortFrom(p.from.Addr(), uint16(1000+i))
			a, first := c.add(p, now.Add(time.Duration(i)*time.Second))
			if first != (i == 0) || first && (a.Count != 1 || a.Time != now || a.To != p.to) {
				t.Fatalf("packet %d: told %+v %v", i, a, first)
			}
		}
		rest := c.flush()
		if len(rest) != 1 || rest[0].Count != 99 || rest[0].Time != now.Add(time.Second) || rest[0].UID != 7 {
			t.Errorf("told %+v", rest)
		}
		if rest := c.flush(); rest != nil {
			t.Errorf("told again: %+v", rest)
		}
	})
	t.Run("flood of many kinds, of which some were lost", func(t *testing.T) {
		c := newTally("orders")
		const sent = 100000
		told, seq := uint64(0), uint32(1<<32-5) // numbers begin again
		for i := range sent {
			seq++
			p := packet{uid: 7, protocol: 17, seq: seq, to: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 53)}
			if i%10 == 9 {
				continue // the kernel had no room
			}
			if _, first := c.add(p, now); first {
				told++
			}
		}
		if told != mostKinds || len(c.kinds) != mostKinds {
			t.Errorf("%d told, %d kept", told, len(c.kinds))
		}
		rest := c.flush()
		if len(rest) != 1 || rest[0].To.IsValid() || rest[0].Protocol != "" || told+rest[0].Count != sent-1 { // nobody can know of the last
			t.Errorf("told %d, and %+v", told, rest)
		}
	})
}

func TestCheck(t *testing.T) {
	r := &Rules{Service: "Orders; drop", Users: make([]User, 7), Port: 80, Serves: 80, Resolvers: addresses("::ffff:1.2.3.4")}
	text, err := r.Text()
	if text != "" || err == nil {
		t.Fatalf("got %q %v", text, err)
	}
	for _, u := range []string{"root", "0"} {
		if found, err := FindUser(u); err != nil || found.ID != 0 {
			t.Errorf("%s: got %v %v", u, found, err)
		}
	}
	for _, u := range []string{"", "-1", "007", "nobody here", "4294967296"} {
		if found, err := FindUser(u); err == nil {
			t.Errorf("%q: got %v", u, found)
		}
	}
	const subuid = "# none\n\nalice:100000:65536\n1001:165536:65536\n:1:1\n"
	for u, want := range map[User]bool{{Name: "alice", ID: 7}: true, {ID: 1001}: true, {Name: "bob", ID: 1001}: true, {ID: 100000}: false, {Name: "none"}: false, {}: false} {
		if got := Subordinate(subuid, u); got != want {
			t.Errorf("%+v: got %v", u, got)
		}
	}
	var s Status
	most := &Rules{Port: 65535, Serves: 65534, Sidecar: &User{ID: 1<<32 - 1}, Users: slices.Repeat([]User{{ID: 1<<32 - 1}}, mostUsers)}
	if about := most.about(); len(about) > 128 {
		t.Errorf("the kernel does not take %d bytes", len(about))
	}
	s.parseAbout(most.about())
	if s.Port != most.Port || s.Serves != most.Serves || *s.Sidecar != *most.Sidecar || !slices.Equal(s.Users, most.Users) {
		t.Errorf("got %+v back", s)
	}
	s.parseAbout("port port, user -1 user")
}
