package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// act is a process on a host.
func act(words []string) error {
	switch words[0] {
	case "serve":
		return serve(words[1:], false)
	case "sidecar":
		return serve(words[1:], true)
	case "dial":
		wait, err := time.ParseDuration(words[2])
		if err != nil {
			return err
		}
		return dial(words[1], wait)
	case "hold":
		wait, err := time.ParseDuration(words[2])
		if err != nil {
			return err
		}
		return hold(words[1], wait)
	case "log":
		return printLog()
	case "enclosed":
		return enclosed()
	}
	return errors.New("unknown word " + words[0])
}

// untilEnd waits for the end of standard input.
func untilEnd() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve greets every connection until its standard input ends. What comes after the greeting's first line it sends back.
func serve(addresses []string, captures bool) error {
	for _, at := range addresses {
		ln, err := listenOn(at)
		if err != nil {
			return err
		}
		go answer(ln, captures)
	}
	untilEnd()
	return nil
}

// listenOn opens a socket. A sidecar's are not MPTCP: their options would be asked of another socket.
func listenOn(at string) (io.Closer, error) {
	if address, ok := strings.CutPrefix(at, "udp:"); ok {
		return net.ListenPacket("udp", address)
	}
	return listenTCP(at)
}

func listenTCP(at string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", at)
}

func answer(ln io.Closer, captures bool) {
	if pc, ok := ln.(net.PacketConn); ok {
		for b := make([]byte, 1500); ; {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(append([]byte("hello\n"), b[:n]...), from)
		}
	}
	for {
		c, err := ln.(net.Listener).Accept() //nolint:forcetypeassert // the other kind was above
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintln(c, greeting(c, captures))
			_, _ = io.Copy(c, c)
		}()
	}
}

// dial prints what it is greeted with. Where is an address, with options behind commas: udp and mptcp; dev=NAME, from=ADDRESS
// and mark=N for the socket.
func dial(where string, wait time.Duration) error {
	options := strings.Split(where, ",")
	network := "tcp"
	d := net.Dialer{Timeout: wait}
	d.SetMultipathTCP(false)
	var dev, mark string
	for _, o := range options[1:] {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "udp":
			network = "udp"
		case "mptcp":
			d.SetMultipathTCP(true)
		case "dev":
			dev = value
		case "mark":
			mark = value
		case "from":
			at, err := net.ResolveTCPAddr("tcp", value)
			if err != nil {
				return err
			}
			d.LocalAddr = at
		default:
			return errors.New("unknown option " + o)
		}
	}
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			if dev != "" {
				err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, dev)
			}
			if mark != "" {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 62010))
			}
		}), err)
	}
	c, err := d.Dial(network, options[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "x\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)
	return err
}

// hold keeps a connection open, and says for every line of its standard input what comes back.
func hold(address string, wait time.Duration) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	back := bufio.NewReader(c)
	if _, err := back.ReadString('\n'); err != nil {
		return err
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		_ = c.SetDeadline(time.Now().Add(wait))
		fmt.Fprintln(c, lines.Text())
		line, err := back.ReadString('\n')
		if err != nil {
			line = "no answer\n"
		}
		fmt.Print(line)
	}
	return lines.Err()
}

// printLog prints what is dropped until its standard input ends.
func printLog() error {
	l, err := OpenLog("", "orders", 15001)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		untilEnd()
		cancel()
	}()
	return l.Run(ctx, func(a Attempt) {
		way := "out"
		if a.Inbound {
			way = "in"
		}
		fmt.Println(a.Service, way, a.Protocol, a.To, a.UID, a.Count)
	})
}
