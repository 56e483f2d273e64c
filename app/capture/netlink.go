package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The messages of nfnetlink_log that are used (linux/netfilter/nfnetlink_log.h).
const (
	messagePacket = unix.NFNL_SUBSYS_ULOG << 8 // and type 0
	messageConfig = unix.NFNL_SUBSYS_ULOG<<8 | 1

	configCommand   = 1
	configMode      = 2
	configTimeout   = 4
	configFlags     = 6
	commandBind     = 1
	copyPacket      = 2
	flagSequence    = 1
	attributeData   = 9
	attributePrefix = 10
	attributeUID    = 11
	attributeSeq    = 12

	headSize  = 20                     // of a netlink message and of nfnetlink's part of it
	flushTime = 100 * time.Millisecond // that a logged packet may wait for others
	buffer    = 1 << 20
)

// OpenGroup opens a socket that gets what is logged to an NFLOG group, in a network namespace as On takes it. Only one
// process can have a group.
func OpenGroup(netns string, group uint16) (*os.File, error) {
	fd := -1
	err := within(netns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err == nil {
		err = bind(fd, group)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		return os.NewFile(uintptr(fd), "nflog"), nil
	}
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if errors.Is(err, unix.EPERM) { // which is also what the kernel says of a group that is taken
		return nil, fmt.Errorf("reading NFLOG group %d: %w: it takes root, or CAP_NET_ADMIN over the network namespace; and no other process may read it", group, err)
	}
	return nil, fmt.Errorf("reading NFLOG group %d: %w", group, err)
}

// bind asks the kernel for a group's packets: their first bytes, with numbers by which losses show.
func bind(fd int, group uint16) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // a smaller one loses more, which is counted
	m := binary.NativeEndian.AppendUint32(nil, 0)
	m = binary.NativeEndian.AppendUint16(m, messageConfig)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m = append(m, make([]byte, 8)...) // sequence and port
	m = append(m, unix.AF_UNSPEC, 0)
	m = binary.BigEndian.AppendUint16(m, group)
	m = attribute(m, configCommand, []byte{commandBind})
	m = attribute(m, configMode, append(binary.BigEndian.AppendUint32(nil, snaplen), copyPacket, 0))
	m = attribute(m, configTimeout, binary.BigEndian.AppendUint32(nil, uint32(flushTime/(10*time.Millisecond))))
	m = attribute(m, configFlags, binary.BigEndian.AppendUint16(nil, flagSequence))
	return converse(fd, m)
}

// converse sends a request, whose length it fills in, and waits for the answer.
func converse(fd int, m []byte) error {
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for reply := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(fd, reply, 0)
		if err != nil {
			return err
		}
		if n < headSize || binary.NativeEndian.Uint16(reply[4:]) != unix.NLMSG_ERROR {
			continue // a packet that was logged before the answer; the numbers of those after it tell
		}
		if code := int32(binary.NativeEndian.Uint32(reply[16:])); code != 0 {
			return unix.Errno(-code)
		}
		return nil
	}
}

func attribute(m []byte, kind uint16, value []byte) []byte {
	m = binary.NativeEndian.AppendUint16(m, uint16(4+len(value)))
	m = append(binary.NativeEndian.AppendUint16(m, kind), value...)
	return append(m, make([]byte, -len(value)&3)...)
}

// parseLog calls f for every packet of a datagram that the kernel sent.
func parseLog(b []byte, f func(packet)) {
	for len(b) >= headSize {
		size := int(binary.NativeEndian.Uint32(b))
		if size < headSize || size > len(b) {
			return
		}
		if binary.NativeEndian.Uint16(b[4:]) == messagePacket {
			if p, ok := parsePacket(b[headSize:size]); ok {
				f(p)
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
}

// parsePacket reads the attributes of one packet; false if it is not one of our rules'.
func parsePacket(b []byte) (packet, bool) {
	p := packet{uid: -1}
	var words, data []byte
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return p, false
		}
		value := b[4:size]
		switch kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); {
		case kind == attributeData:
			data = value
		case kind == attributePrefix:
			words = bytes.TrimRight(value, "\x00")
		case kind == attributeUID && len(value) == 4:
			p.uid = int64(binary.BigEndian.Uint32(value))
		case kind == attributeSeq && len(value) == 4:
			p.seq = binary.BigEndian.Uint32(value)
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	p.inbound = string(words) == logIn
	return p, (p.inbound || string(words) == logOut) && p.parseIP(data)
}
