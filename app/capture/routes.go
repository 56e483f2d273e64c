package capture

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Surround makes every address there is one of the network namespace of this process, so that a namespace that has
// nothing but loopback lets connections to anywhere begin, and rules without a Sidecar can capture them. It takes
// CAP_NET_ADMIN over the namespace.
func Surround() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("leading all addresses to loopback: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := localDefault(fd, family); err != nil {
			return fmt.Errorf("leading all addresses to loopback: %w", err)
		}
	}
	return nil
}

// localDefault does what "ip route replace local default dev lo" does (rtnetlink(7)).
func localDefault(fd int, family uint8) error {
	m := binary.NativeEndian.AppendUint32(nil, 0)
	m = binary.NativeEndian.AppendUint16(m, unix.RTM_NEWROUTE)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	m = append(m, make([]byte, 8)...) // sequence and port
	m = append(m, family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL)
	m = binary.NativeEndian.AppendUint32(m, 0)
	m = attribute(m, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 1)) // lo is always the first
	return converse(fd, m)
}
