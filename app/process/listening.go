package process

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// stateListen is TCP_LISTEN as /proc/net/tcp writes it (proc_net_tcp, in the kernel's documentation).
const stateListen = "0A"

// listening returns where sockets listen in the network of a process, but for those in except. What cannot be read is not there.
func listening(pid int, except []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != stateListen {
				continue
			}
			if at, ok := tableAddress(fields[1]); ok && !slices.Contains(except, at) {
				out = append(out, at)
			}
		}
	}
	return out
}

// tableAddress reads an address of /proc/net/tcp: words of four bytes as this machine stores them, in hexadecimal, and a port.
func tableAddress(text string) (netip.AddrPort, bool) {
	digits, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word) // the machines that this runs on are little-endian
	}
	at, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(at.Unmap(), uint16(n)), ok && err == nil
}
