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

// Run tells of attempts until ctx ends: the first of a kind at once, those after it as a number, at most 64 kinds in
// half a minute. It closes the Log.
func (l *Log) Run(ctx context.Context, record func(Attempt)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.file.Close() }) // wakes Read
	defer stop()
	defer l.file.Close()
	t := newTally(l.service)
	defer l.flush(t, record)
	var pace pace
	buf := make([]byte, 1<<16)
	for until := time.Now().Add(window); ; {
		if err := l.file.SetReadDeadline(until); err != nil && ctx.Err() == nil {
			return fmt.Errorf("reading what is dropped: %w", err)
		}
		n, err := l.file.Read(buf)
		switch now := time.Now(); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			parseLog(buf[:n], func(p packet) {
				if a, first := t.add(p, now); first {
					record(a)
				}
				pace.one(now)
			})
			pace.wait(ctx, now)
		case errors.Is(err, unix.ENOBUFS): // more came than fits; the numbers of packets tell how many
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("reading what is dropped: %w", err)
		}
		if now := time.Now(); !now.Before(until) {
			l.flush(t, record)
			until = now.Add(window)
		}
	}
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
