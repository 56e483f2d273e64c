package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// NATS tells a broker who connects. The sidecar speaks the first lines of the protocol with both sides: the identity
// that the handshake has proven goes into the client's CONNECT, for the broker's auth callout, and nothing that the
// client says of itself does. (docs.nats.io, reference of the client protocol)
type NATS struct {
	// Token makes what the broker is shown: a short-lived proof of the caller's identity.
	Token func(ctx context.Context, caller *proxy.Workload) (string, error)
	// Inbox returns the prefix that is the caller's alone, such as _INBOX.x; the caller knows it as _INBOX. Nil: inboxes
	// are as clients make them up.
	Inbox   func(caller *proxy.Workload) string
	Inboxes string // what all of these begin with
}

const (
	mostInfo    = 64 << 10 // bytes of the broker's first line
	mostConnect = 16 << 10 // bytes of the client's
)

// greet carries out the beginning of the protocol, and returns the two sides as they go on: the client's is watched,
// since a second CONNECT would be as good as the first.
func (n *NATS) greet(ctx context.Context, l *Link, near, far net.Conn, caller *proxy.Workload) (client, broker net.Conn, err error) {
	until := time.Now().Add(l.Bounds().Handshake)
	if err := errors.Join(near.SetDeadline(until), far.SetDeadline(until)); err != nil {
		return nil, nil, fmt.Errorf("bounding the beginning: %w", err)
	}
	line, behindInfo, err := readLine(far, mostInfo)
	if err != nil {
		return nil, nil, Refusal(proxy.KindUpstream, "no-nats-broker", "the broker does not begin with its INFO")
	}
	info, err := rewriteInfo(line)
	if err != nil {
		return nil, nil, err
	}
	if _, err := near.Write(info); err != nil {
		return nil, nil, Refusal(proxy.KindMalformed, "client-gone", "the client left before it said who it is")
	}
	line, behindConnect, err := readLine(near, mostConnect)
	if err != nil {
		return nil, nil, Refusal(proxy.KindMalformed, "no-nats-client", "the client does not begin with its CONNECT")
	}
	if err := n.introduce(ctx, far, line, caller); err != nil {
		_, _ = io.WriteString(near, "-ERR 'Authorization Violation'\r\n") // it is closed in any case
		_ = near.Close()
		return nil, nil, err
	}
	l.Note(event.Reason{Code: "identity-introduced", Text: "the broker was told the proven identity"})
	if err := errors.Join(near.SetDeadline(time.Time{}), far.SetDeadline(time.Time{})); err != nil {
		return nil, nil, fmt.Errorf("ending the bound of the beginning: %w", err)
	}
	asClient, asBroker := n.follow(l, near, far, caller)
	asClient.behind, asBroker.behind = behindConnect, behindInfo
	return asClient, asBroker, nil
}

// follow listens to both sides from now on.
func (n *NATS) follow(l *Link, near, far net.Conn, caller *proxy.Workload) (client, broker *natsConn) {
	var inbox natsInbox
	if n.Inbox != nil {
		inbox = natsInbox{own: n.Inbox(caller), all: n.Inboxes}
	}
	refused := map[string]bool{}
	hears := func(verb, subject string) {
		if refused[verb+subject] || len(refused) == mostRefused {
			return
		}
		refused[verb+subject] = true
		l.Refused(&event.Reason{
			Code: "subject-not-declared", Text: "the model does not let the caller " + verb + " " + strconv.Quote(subject),
			Data: map[string]string{"verb": verb, "subject": subject},
		})
	}
	client = &natsConn{
		rest: rest{Conn: near}, to: &natsClient{inbox}, kind: proxy.KindMalformed,
		says: "the client says what a client may not say after its CONNECT",
	}
	broker = &natsConn{
		rest: rest{Conn: far}, to: &natsBroker{inbox, hears}, kind: proxy.KindUpstream,
		says: "the broker says what brokers do not say",
	}
	return client, broker
}

// mostRefused are the subjects that are recorded as refused on one connection; whoever tries more tells us nothing new.
const mostRefused = 64

// introduce sends the broker the client's CONNECT with the identity in it.
func (n *NATS) introduce(ctx context.Context, broker io.Writer, line []byte, caller *proxy.Workload) error {
	options, err := readConnect(line)
	if err != nil {
		return err
	}
	if options.Token, err = n.Token(ctx, caller); err != nil {
		return Refusal(proxy.KindUndecided, "no-token", "no token could be made for the broker")
	}
	if options.Token == "" {
		return Refusal(proxy.KindUndecided, "no-token", "the token for the broker is empty")
	}
	out, err := options.line()
	if err != nil {
		return err
	}
	if _, err := broker.Write(out); err != nil {
		return Refusal(proxy.KindUpstream, "broker-gone", "the broker left before it was told who connects")
	}
	return nil
}

// readLine reads a line of at most so many bytes that ends with CR LF, and returns it without them, with what came
// behind it.
func readLine(r io.Reader, most int) (line, behind []byte, err error) {
	buf := make([]byte, 0, 1<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		seen := len(buf)
		buf = buf[:seen+n]
		if at := bytes.IndexByte(buf[seen:], '\n'); at >= 0 {
			at += seen
			if at == 0 || buf[at-1] != '\r' || at > most {
				return nil, nil, errNoLine
			}
			return buf[:at-1], buf[at+1:], nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the first line: %w", err)
		}
		if len(buf) > most {
			return nil, nil, errNoLine
		}
	}
}

var errNoLine = errors.New("the line is too long or does not end with CR LF")

// rest is a connection of which some bytes have been read already.
type rest struct {
	net.Conn
	behind []byte
}

// Read returns first what was read already.
func (r *rest) Read(p []byte) (int, error) {
	if len(r.behind) > 0 {
		n := copy(p, r.behind)
		if r.behind = r.behind[n:]; len(r.behind) == 0 {
			r.behind = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends what is said.
func (r *rest) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return r.Close()
}
