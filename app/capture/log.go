package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Log is what the rules for a service drop.
type Log struct {
	file    *os.File
	service string
}

// OpenLog begins to read what is dropped by the rules for a service whose capture port is given, in a network namespace
// as On takes it. It takes CAP_NET_ADMIN; only one process can read it.
func OpenLog(netns, service string, port uint16) (*Log, error) {
	f, err := OpenGroup(netns, port)
	if err != nil {
		return nil, err
	}
	return NewLog(f, service), nil
}

// NewLog reads from a socket of OpenGroup, which another process may have opened.
func NewLog(f *os.File, service string) *Log { return &Log{file: f, service: service} }

// Close gives up a Log that is not run.
func (l *Log) Close() error { return l.file.Close() }

// mostPackets is how many packets are looked at in a second. The kernel counts the others.
const mostPackets = 5000

// Run tells of attempts until ctx ends, and then of those that the kernel still holds: the first of a kind at once, those
// after it as a number, at most 64 kinds in half a minute. It closes the Log.
func (l *Log) Run(ctx context.Context, record func(Attempt)) error {
	defer l.file.Close()
	t := newTally(l.service)
	defer l.flush(t, record)
	stop := context.AfterFunc(ctx, func() { _ = l.file.SetReadDeadline(time.Now()) }) // wakes read
	defer stop()
	var pace pace
	buf := make([]byte, 1<<16)
	for until := time.Now().Add(window); ; {
		err := l.file.SetReadDeadline(until)
		switch {
		case ctx.Err() != nil:
			return l.rest(t, buf, record)
		case err == nil:
			err = l.read(t, buf, &pace, record)
		}
		if err != nil {
			return fmt.Errorf("reading what is dropped: %w", err)
		}
		now := time.Now()
		pace.wait(ctx, now)
		if !now.Before(until) {
			l.flush(t, record)
			until = now.Add(window)
		}
	}
}

// read reads what comes until the deadline.
func (l *Log) read(t *tally, buf []byte, pace *pace, record func(Attempt)) error {
	n, err := l.file.Read(buf)
	now := time.Now()
	parseLog(buf[:max(n, 0)], func(p packet) {
		if a, first := t.add(p, now); first {
			record(a)
		}
		pace.one(now)
	})
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ENOBUFS) { // more came than fits; the numbers of packets tell how many
		return nil
	}
	return err
}

// rest reads what was dropped before the end, and waits in the kernel for more to come.
func (l *Log) rest(t *tally, buf []byte, record func(Attempt)) error {
	var pace pace
	for end := time.Now().Add(flushTime * 3 / 2); time.Now().Before(end) && pace.seen < mostPackets; {
		err := l.file.SetReadDeadline(end)
		if err == nil {
			err = l.read(t, buf, &pace, record)
		}
		if err != nil {
			return fmt.Errorf("reading what was dropped: %w", err)
		}
	}
	return nil
}

func (l *Log) flush(t *tally, record func(Attempt)) {
	for _, a := range t.flush() {
		record(a)
	}
}

// pace keeps whoever sends without end from keeping the reader busy.
type pace struct {
	began time.Time
	seen  int
}

func (p *pace) one(now time.Time) {
	if now.Sub(p.began) >= time.Second {
		p.began, p.seen = now, 0
	}
	p.seen++
}

// wait lets the second pass once it has had its packets.
func (p *pace) wait(ctx context.Context, now time.Time) {
	if p.seen < mostPackets {
		return
	}
	rest := time.NewTimer(p.began.Add(time.Second).Sub(now))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}
