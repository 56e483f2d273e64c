package intake

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/palisade-security/palisade/internal/accept"
)

// Bounds of the syslog intake.
const (
	syslogConnections = 256 // at once
	syslogIdle        = time.Hour
	syslogHandshake   = 10 * time.Second
	syslogBatch       = 256 // messages that are written together
)

// ServeSyslog takes syslog over TLS (RFC 5425) from a listener that does the handshakes, until ctx ends. Who connects must show a
// certificate of a declared source. Syslog has no answers: a source that has used up its quota, and a disk that is full, are felt by
// the sender as a connection that takes nothing more, so that it keeps what it has.
func (in *Intake) ServeSyslog(ctx context.Context, ln net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	room := make(chan struct{}, syslogConnections)
	err := accept.Loop(ctx, ln, func(conn net.Conn) {
		select {
		case room <- struct{}{}:
		default:
			in.refusals.refuse(time.Now(), Refusal{Reason: ReasonBusy, Address: hostOf(conn), Text: "too many connections of syslog"})
			_ = conn.Close() // it has said nothing yet
			return
		}
		all.Go(func() {
			defer func() { <-room }()
			in.serveSyslog(ctx, conn)
		})
	})
	if err != nil {
		return fmt.Errorf("taking syslog: %w", err)
	}
	return nil
}

// serveSyslog takes what comes on one connection.
func (in *Intake) serveSyslog(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	s, from := in.sender(ctx, conn)
	if s == nil {
		in.refusals.refuse(time.Now(), Refusal{Reason: ReasonUnknown, Address: from.address, Text: "who sends syslog must show the certificate of a declared source"})
		return
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		if conn.SetReadDeadline(time.Now().Add(syslogIdle)) != nil {
			return
		}
		records, bytes, err := readFrames(r)
		if !in.patiently(ctx, s, records, bytes, from) {
			return
		}
		if err != nil {
			if errors.Is(err, errFrame) {
				in.refusals.refuse(time.Now(), Refusal{Source: s.Name, Reason: ReasonForm, Address: from.address, Text: err.Error()})
			}
			return
		}
		for wait := s.quota.wait(time.Now()); wait > 0; wait = s.quota.wait(time.Now()) {
			in.refusals.refuse(time.Now(), Refusal{Source: s.Name, Reason: ReasonQuota, Address: from.address, Text: "the quota of this source is used up; it must wait"})
			if !pause(ctx, wait) {
				return
			}
		}
	}
}

// patiently hands records over, again and again until the disk takes them. It reports false when ctx has ended.
func (in *Intake) patiently(ctx context.Context, s *source, records []*record, bytes int64, from sender) bool {
	for {
		attempt, cancel := context.WithTimeout(ctx, takeTimeout)
		err := in.take(attempt, s, records, bytes, from)
		cancel()
		if err == nil {
			return true
		}
		in.refusals.refuse(time.Now(), Refusal{Source: s.Name, Reason: ReasonBusy, Address: from.address, Text: "the records could not be written to disk; they are kept waiting"})
		if !pause(ctx, busyWait) {
			return false
		}
	}
}

// pause waits. It reports false when ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sender finds out whose connection it is.
func (in *Intake) sender(ctx context.Context, conn net.Conn) (*source, sender) {
	from := sender{address: hostOf(conn)}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from.port = a.Port
	}
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil, from
	}
	ctx, cancel := context.WithTimeout(ctx, syslogHandshake)
	defer cancel()
	if secured.HandshakeContext(ctx) != nil {
		return nil, from
	}
	state := secured.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return nil, from
	}
	s, workload := in.sources.Load().certified(in.o.Certificate(&state))
	from.workload = workload
	return s, from
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

var errFrame = errors.New("what came is not framed as RFC 5425 says, or too long")

// readFrames reads one message, and those that have come with it. With an error there may be messages before it.
func readFrames(r *bufio.Reader) (records []*record, bytes int64, err error) {
	for len(records) < syslogBatch && (len(records) == 0 || r.Buffered() > 0) {
		message, err := readFrame(r)
		if err != nil {
			return records, bytes, err
		}
		if len(message) > 0 {
			records = append(records, readSyslog(message, time.Now()))
		}
		bytes += int64(len(message))
	}
	return records, bytes, nil
}

// readFrame reads one message: its length in decimal, a space and that many bytes (RFC 5425, section 4.3), or, as many senders have it
// still, a line (RFC 6587, section 3.4.2).
func readFrame(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if first < '1' || first > '9' {
		if first == '\n' {
			return nil, nil
		}
		if err := r.UnreadByte(); err != nil {
			return nil, err
		}
		return readUntil(r, '\n', maxLine)
	}
	digits, err := readUntil(r, ' ', len(strconv.Itoa(maxLine)))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(string(first) + string(digits))
	if err != nil || n > maxLine {
		return nil, errFrame
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	return message, nil
}

// readUntil reads what stands before a byte, and that byte; at most so much.
func readUntil(r *bufio.Reader, end byte, most int) ([]byte, error) {
	var out []byte
	for {
		c, err := r.ReadByte()
		switch {
		case err == io.EOF && len(out) > 0 && end == '\n':
			return out, nil
		case err != nil:
			return nil, err
		case c == end:
			return out, nil
		case len(out) == most:
			return nil, errFrame
		}
		out = append(out, c)
	}
}
