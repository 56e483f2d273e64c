package export_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The messages of nfnetlink_log (linux/netfilter/nfnetlink_log.h).
const (
	nfulnlPacket    = 0
	nfulnlConfig    = 1
	nfulaCfgCommand = 1
	nfulaCfgMode    = 2
	nfulaCfgTimeout = 4
	nfulaPrefix     = 10
	commandBind     = 1
	copyPacket      = 2
)

// printLog prints the prefix of everything that an NFLOG group gets, once each, until standard input ends.
func printLog(group string) error {
	number, err := strconv.ParseUint(group, 10, 16)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	mode := binary.BigEndian.AppendUint32(nil, 0xffff)
	for _, a := range [][]byte{
		attribute(nfulaCfgCommand, []byte{commandBind}),
		attribute(nfulaCfgMode, append(mode, copyPacket, 0)),
		attribute(nfulaCfgTimeout, binary.BigEndian.AppendUint32(nil, 1)), // hundredths of a second
	} {
		if err := unix.Sendto(fd, request(uint16(number), a), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		reply := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, reply, 0)
		if err != nil {
			return err
		}
		if n < 20 || binary.NativeEndian.Uint16(reply[4:]) != unix.NLMSG_ERROR || binary.NativeEndian.Uint32(reply[16:]) != 0 {
			return fmt.Errorf("binding to NFLOG group %s: %x", group, reply[:n])
		}
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	seen := map[string]bool{}
	for b := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		for _, prefix := range prefixes(b[:n]) {
			if !seen[prefix] {
				seen[prefix] = true
				fmt.Println(prefix)
			}
		}
	}
}

func request(group uint16, attribute []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(20+len(attribute)))
	b = binary.NativeEndian.AppendUint16(b, unix.NFNL_SUBSYS_ULOG<<8|nfulnlConfig)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = append(b, make([]byte, 8)...) // sequence and port
	b = append(b, unix.AF_UNSPEC, 0)
	b = binary.BigEndian.AppendUint16(b, group)
	return append(b, attribute...)
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// prefixes finds the prefixes of the packets in a datagram.
func prefixes(b []byte) []string {
	var out []string
	for len(b) >= 20 {
		size := int(binary.NativeEndian.Uint32(b))
		if size < 20 || size > len(b) {
			return out
		}
		message := b[:size]
		b = b[min(len(b), (size+3)&^3):]
		if binary.NativeEndian.Uint16(message[4:]) != unix.NFNL_SUBSYS_ULOG<<8|nfulnlPacket {
			continue
		}
		for a := message[20:]; len(a) >= 4; {
			n := int(binary.NativeEndian.Uint16(a))
			if n < 4 || n > len(a) {
				break
			}
			if binary.NativeEndian.Uint16(a[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == nfulaPrefix {
				out = append(out, string(bytes.TrimRight(a[4:n], "\x00")))
			}
			a = a[min(len(a), (n+3)&^3):]
		}
	}
	return out
}
