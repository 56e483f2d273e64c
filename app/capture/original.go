package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrDirect means that a connection was not redirected: somebody connected to the capture port itself.
var ErrDirect = errors.New("the connection was made to the capture port itself")

// Original returns where a redirected connection was meant to go, as the kernel's connection tracking remembers it
// (SO_ORIGINAL_DST, linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h). C must be a TCP socket as it was accepted.
func Original(c net.Conn) (netip.AddrPort, error) {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	raw, raws := c.(syscall.Conn)
	if !ok || !raws {
		return netip.AddrPort{}, errors.New("finding the original destination: not a TCP socket")
	}
	s, err := raw.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("finding the original destination: %w", err)
	}
	own := local.AddrPort()
	own = netip.AddrPortFrom(own.Addr().Unmap(), own.Port())
	var to netip.AddrPort
	var failed error
	err = s.Control(func(fd uintptr) { to, failed = ask(int(fd), own.Addr().Is4()) })
	if err := errors.Join(err, failed); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOPROTOOPT) { // nothing tracks it, so nothing redirected it
			return netip.AddrPort{}, ErrDirect
		}
		return netip.AddrPort{}, fmt.Errorf("finding the original destination: %w", err)
	}
	if to == own {
		return netip.AddrPort{}, ErrDirect
	}
	return to, nil
}

// ask reads the socket option into a structure of the system package that is large enough, and has the address where the
// kernel writes it.
func ask(fd int, v4 bool) (netip.AddrPort, error) {
	if !v4 {
		info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST) // begins with a sockaddr_in6
		if err != nil {
			return netip.AddrPort{}, err
		}
		return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), swapped(info.Addr.Port)), nil
	}
	r, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST) // sockaddr_in: family, port, address
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := r.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// swapped reads a number that stands in network order.
func swapped(n uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n))
}
