package upstream

import (
	"context"
	"net"
	"os"
	"time"
)

// patience is how long an exchange goes on before its context is watched and its own deadlines are set. Most are
// over by then, and watching a context costs more than reading an answer. So a cancelled exchange may wait this
// much longer.
const patience = 100 * time.Millisecond

// line is the connection below TLS. It sees to it that an exchange ends at its deadlines and with its context, and
// does next to nothing for one that is over soon: a short deadline stays on the connection through many exchanges,
// and only one that meets it is watched.
type line struct {
	net.Conn

	// The exchange on the connection. Until it is watched, it belongs to one goroutine.
	ctx     context.Context //nolint:containedctx // the exchange's own scope, from begin to finish
	read    time.Time       // when reads shall end; zero: never
	write   time.Time       // when writes shall end
	watched bool            // ctx and the deadlines are in force
	stop    func() bool     // ends watching ctx; nil if it has no end

	short time.Time // the short deadline on the connection; zero: another one, or none
	deaf  bool      // reads give nothing and do not wait
}

// begin prepares for an exchange that shall end at deadline and with ctx.
func (l *line) begin(ctx context.Context, now, deadline time.Time) error {
	l.ctx, l.watched, l.stop = ctx, false, nil
	l.read, l.write = deadline, deadline
	if until := l.short.Sub(now); until > patience/2 && l.short.Before(deadline) {
		return nil
	}
	l.short = now.Add(min(patience, deadline.Sub(now)))
	return l.Conn.SetDeadline(l.short)
}

// watch puts ctx and the deadlines in force. From then on reads and writes may run at the same time.
func (l *line) watch() error {
	if l.watched {
		return nil
	}
	l.watched, l.short = true, time.Time{}
	if l.ctx.Done() != nil {
		l.stop = context.AfterFunc(l.ctx, l.abort)
	}
	if err := l.Conn.SetReadDeadline(l.read); err != nil {
		return err
	}
	return l.Conn.SetWriteDeadline(l.write)
}

// finish ends the exchange, and reports whether the connection is none the worse for it.
func (l *line) finish() bool {
	whole := l.stop == nil || l.stop()
	l.ctx, l.stop = nil, nil
	return whole
}

// abort breaks the connection at once, whatever runs on it.
func (l *line) abort() { _ = l.Close() }

// goOn reports whether a read or write that ended with err goes on, since it met no more than the short deadline.
func (l *line) goOn(err error, deadline time.Time) bool {
	if l.watched || l.ctx == nil || !isTimeout(err) || !deadline.IsZero() && !time.Now().Before(deadline) {
		return false
	}
	return l.watch() == nil
}

func (l *line) Read(p []byte) (int, error) {
	if l.deaf {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		n, err := l.Conn.Read(p)
		if err == nil || n > 0 || !l.goOn(err, l.read) {
			return n, err
		}
	}
}

func (l *line) Write(p []byte) (int, error) {
	written := 0
	for {
		n, err := l.Conn.Write(p[written:])
		if written += n; err == nil || !l.goOn(err, l.write) {
			return written, err
		}
	}
}

func (l *line) SetDeadline(t time.Time) error {
	if err := l.SetReadDeadline(t); err != nil {
		return err
	}
	return l.SetWriteDeadline(t)
}

func (l *line) SetReadDeadline(t time.Time) error {
	if l.direct() {
		return l.Conn.SetReadDeadline(t)
	}
	l.read = t
	if l.meets(t) {
		return nil
	}
	return l.Conn.SetReadDeadline(t)
}

func (l *line) SetWriteDeadline(t time.Time) error {
	if l.direct() {
		return l.Conn.SetWriteDeadline(t)
	}
	l.write = t
	if l.meets(t) {
		return nil
	}
	return l.Conn.SetWriteDeadline(t)
}

// direct reports whether deadlines go to the connection: an exchange is watched, or there is none.
func (l *line) direct() bool { return l.watched || l.ctx == nil }

// meets reports whether the short deadline comes before t. If not, it is about to be replaced.
func (l *line) meets(t time.Time) bool {
	if t.IsZero() || l.short.Before(t) && !l.short.IsZero() {
		return true
	}
	l.short = time.Time{}
	return false
}
