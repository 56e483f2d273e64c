package attest

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Network names a network namespace for as long as somebody is in it. The zero value is none.
type Network struct {
	device, inode uint64
}

// NetworkOf returns the network namespace of a process, which must be a child that we have not waited for: then its pid
// is nobody else's.
func NetworkOf(pid int) (Network, error) {
	dir, err := os.OpenFile("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Network{}, fmt.Errorf("finding the network of a process: %w", err)
	}
	defer dir.Close()
	return proc{dir}.network()
}

// Network returns the network namespace in which the process is. Who is in one that was made for a service was started
// there, or had rights over it.
func (p *Peer) Network() (n Network, err error) {
	dir, err := p.enter()
	if err != nil {
		return Network{}, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if n, err = dir.network(); err != nil {
		return Network{}, err
	}
	return n, p.Alive() // what was read is its own if it lives now
}

func (d proc) network() (n Network, err error) {
	err = withFD(d.File, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, "ns/net", &st, 0); err != nil {
			return fmt.Errorf("finding the network of a process: %w", err)
		}
		n = Network{st.Dev, st.Ino}
		return nil
	})
	return n, err
}
