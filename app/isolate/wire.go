package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// op is what the outside asks of the inside.
type op string

const (
	opSetup  op = "setup"
	opListen op = "listen"
	opDial   op = "dial"
	opLog    op = "log"
	opStart  op = "start"
)

// request and reply are one packet each; a reply may carry one file.
type request struct {
	ID      uint64   `json:"id"`
	Op      op       `json:"op"`
	Address string   `json:"address,omitempty"` // host:port
	Hosts   string   `json:"hosts,omitempty"`   // path of a hosts file
	Hide    string   `json:"hide,omitempty"`    // folder
	Keep    []string `json:"keep,omitempty"`    // folders within it
	Unseen  []string `json:"unseen,omitempty"`  // folders
	Capture string   `json:"capture,omitempty"` // service whose connections are captured; empty: none

	Processes bool `json:"processes,omitempty"` // we are the init of a PID namespace
}

type reply struct {
	ID    uint64 `json:"id"`
	Error string `json:"error,omitempty"`
}

const packet = 4 << 10 // bytes of a message at most

// readReply reads one reply and the file it carries, or nil.
func readReply(c *net.UnixConn) (*reply, *os.File, error) {
	b, oob := make([]byte, packet), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, io.EOF // of a packet socket
	}
	f, err := fileIn(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	var r reply
	if err := json.Unmarshal(b[:n], &r); err != nil {
		return nil, nil, fmt.Errorf("reading a reply: %w", err)
	}
	return &r, f, nil
}

func fileIn(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil //nolint:nilnil // most replies carry no file
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("reading a handed over file: %w", err)
	}
	if len(messages) != 1 {
		return nil, errors.New("reading a handed over file: not one message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("reading a handed over file: not one file")
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), nil
}

// writeReply sends a reply with f, if that is not nil.
func writeReply(c *net.UnixConn, r reply, f *os.File) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var oob []byte
	if f != nil {
		oob = unix.UnixRights(int(f.Fd()))
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}
