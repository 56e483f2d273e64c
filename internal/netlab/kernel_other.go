//go:build !(linux && amd64)

package netlab

import (
	"errors"
	"os/exec"
	"testing"
	"time"
)

// Kernel exists on amd64 alone: which system call a program begins with is known there.
type Kernel struct{}

// Jump does nothing.
func (*Kernel) Jump(time.Duration) {}

// Slow does nothing.
func (*Kernel) Slow(time.Duration) {}

func (*Kernel) start(t testing.TB, _ *exec.Cmd) error {
	t.Skip("NOT RUN: system calls can be watched on amd64 alone")
	return nil
}

func launch([]string) error { return errors.New("only on amd64") }
