// Probe connects to the Unix socket named by its first argument, says so and waits until the other side hangs
// up. With a second argument "leave" it starts itself again with the connection and ends.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 2 && os.Args[2] == "inherited" {
		_, err := io.Copy(io.Discard, os.NewFile(3, "connection"))
		return err
	}
	conn, err := net.Dial("unix", os.Args[1])
	if err != nil {
		return err
	}
	if len(os.Args) > 2 && os.Args[2] == "leave" {
		file, err := conn.(*net.UnixConn).File()
		if err != nil {
			return err
		}
		heir := exec.Command(os.Args[0], os.Args[1], "inherited")
		heir.ExtraFiles = []*os.File{file}
		return heir.Start()
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}
