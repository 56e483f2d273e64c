package capture

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// snaplen is how much of a packet is logged, in bytes: its headers.
const snaplen = 128

// packet is what is known of a dropped packet.
type packet struct {
	inbound  bool
	uid      int64 // who sent it; -1: not known
	seq      uint32
	protocol uint8
	from, to netip.AddrPort // without ports: 0
}

// parseIP reads the headers of a packet, of which the end may be cut off; false if it has none that can be read (RFC 791, section 3.1;
// RFC 8200, sections 3 and 4).
func (p *packet) parseIP(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&0x0f) * 4
		if head < 20 || len(b) < head {
			return false
		}
		p.protocol = b[9]
		from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		first := binary.BigEndian.Uint16(b[6:8])&0x1fff == 0 // of several fragments, only this one has ports
		p.ports(from, to, b[head:], first)
		return true
	case 6:
		if len(b) < 40 {
			return false
		}
		from, to := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		next, rest, first := afterExtensions(b[6], b[40:])
		p.protocol = next
		p.ports(from, to, rest, first)
		return true
	}
	return false
}

// afterExtensions skips the extension headers of IPv6 that may stand before a protocol with ports. First is false for
// fragments that begin later.
func afterExtensions(next uint8, b []byte) (protocol uint8, rest []byte, first bool) {
	for {
		size := 0
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			if len(b) >= 2 {
				size = (int(b[1]) + 1) * 8
			}
		case unix.IPPROTO_FRAGMENT:
			if len(b) >= 8 && binary.BigEndian.Uint16(b[2:4])&0xfff8 != 0 {
				return b[0], nil, false
			}
			size = 8
		default:
			return next, b, true
		}
		if size == 0 || size > len(b) {
			return next, nil, false
		}
		next, b = b[0], b[size:]
	}
}

func (p *packet) ports(from, to netip.Addr, b []byte, first bool) {
	var source, destination uint16
	if first && len(b) >= 4 && slices.Contains([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP}, p.protocol) {
		source, destination = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	p.from, p.to = netip.AddrPortFrom(from, source), netip.AddrPortFrom(to, destination)
}

// protocolName names a protocol as IANA does, or gives its number.
func protocolName(n uint8) string {
	switch n {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_DCCP:
		return "dccp"
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "ipv6-icmp"
	}
	return strconv.Itoa(int(n))
}
